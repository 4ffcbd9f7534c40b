"""A TensorRT-LLM that is installed on this machine, found without importing it.

Importing it loads torch, TensorRT and its C++ library, and fails without a GPU.
"""

import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from nimctl.core.trtllm.job import INSIDE
from nimctl.core.value import Value

_PACKAGE = "tensorrt-llm"
_PROGRAM = "trtllm-build"


class Installation(Value):
    """An installed TensorRT-LLM.

    `directory` has its programs. `examples` has the conversion scripts, which the package does not
    bring; None where they are not.
    """

    version: str
    directory: str
    examples: str | None


def find(path: str | None = None, examples: Path = Path(INSIDE.examples)) -> Installation | None:
    """The first on PATH, or beside this Python; None when there is none."""
    for directory in _directories(path):
        version = _version(directory)
        if version:
            scripts = str(examples) if examples.is_dir() else None
            return Installation(version=version, directory=str(directory), examples=scripts)
    return None


def _directories(path: str | None) -> Iterator[Path]:
    program = shutil.which(_PROGRAM, path=path)
    if program:
        # A link in a directory of links leads to where the package's other files are.
        yield Path(program).parent
        yield Path(program).resolve().parent
    beside = Path(sys.executable).parent
    if (beside / _PROGRAM).exists():
        yield beside


def _version(directory: Path) -> str | None:
    places = [
        str(place)
        for pattern in ("site-packages", "dist-packages")
        for place in directory.parent.glob(f"lib/python3*/{pattern}")
    ]
    found = metadata.distributions(name=_PACKAGE, path=places)
    return next((one.version for one in found), None)
