"""NumPy's array files: which of them may hold a pickle.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

import io
import re

from nimctl.store.formats.findings import UnreadableError
from nimctl.store.formats.sources import exactly

MAGIC = b"\x93NUMPY"
_LONGEST_HEADER_BYTES = 1024 * 1024
# What `numpy.save` writes of numbers, strings and times. Whatever else is there is for `eval`-like
# parsers to understand, so it may say that objects follow.
_PLAIN = re.compile(
    rb"\{'descr': '[<>|=][biufcmMSUV]\d+(?:\[\w+\])?', 'fortran_order': (?:True|False), "
    rb"'shape': \([\d, ]*\),? ?\} *\n?"
)


def skip_to_pickle(source: io.BufferedReader) -> bool:
    """Go to where the array's values begin; whether these may be a pickle.

    Raises:
        UnreadableError: The header is cut off or too long.
    """
    source.seek(0)
    exactly(source, len(MAGIC))
    major, _ = exactly(source, 2)
    length_bytes = 2 if major == 1 else 4
    length = int.from_bytes(exactly(source, length_bytes), "little")
    if length > _LONGEST_HEADER_BYTES:
        raise UnreadableError(f"its header has {length:,} bytes")
    return _PLAIN.fullmatch(exactly(source, length)) is None
