"""What there is to know about weight files before anything loads them."""

from typing import Literal

from nimctl.core.value import Value


class Finding(Value):
    """One thing about a file; `path` is inside the model."""

    path: str
    severity: Literal["note", "danger"]
    message: str
