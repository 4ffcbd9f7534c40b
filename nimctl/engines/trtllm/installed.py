"""A TensorRT-LLM that is installed on this machine, found without importing it.

Importing it loads torch, TensorRT and its C++ library, and fails without a GPU.
"""

import shutil
from importlib import metadata
from pathlib import Path

from nimctl.core.trtllm.job import INSIDE
from nimctl.core.trtllm.machine import Installed

_PACKAGE = "tensorrt-llm"
_PROGRAM = "trtllm-build"


def find(path: str | None = None, examples: Path = Path(INSIDE.examples)) -> Installed | None:
    """The one whose program is on PATH; None when there is none."""
    program = shutil.which(_PROGRAM, path=path)
    if program is None:
        return None
    # A link in a directory of links leads to where the package's other files are.
    for directory in (Path(program).parent, Path(program).resolve().parent):
        version = _version(directory)
        if version:
            scripts = str(examples) if examples.is_dir() else None
            return Installed(version=version, examples=scripts)
    return None


def _version(directory: Path) -> str | None:
    places = [
        str(place)
        for pattern in ("site-packages", "dist-packages")
        for place in directory.parent.glob(f"lib/python3*/{pattern}")
    ]
    found = metadata.distributions(name=_PACKAGE, path=places)
    return next((one.version for one in found), None)
