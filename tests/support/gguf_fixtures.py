"""The recorded checkpoints of tools/gguf_reference, and ways to spoil a copy of one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from nimctl.engines.gguf.convert import convert
from nimctl.engines.gguf.safetensors import find_tensors
from nimctl.engines.gguf.weights import Precision

DATA = Path(__file__).resolve().parents[1] / "data" / "gguf"
RECORD: dict[str, dict[str, list[Any]]] = json.loads((DATA / "record.json").read_text("utf-8"))
CASES = tuple(RECORD)

Header = dict[str, dict[str, Any]]


class Stored(NamedTuple):
    """A safetensors file in parts."""

    header: Header
    data: bytes


def convert_case(case: str, output: Path, precision: Precision) -> Path:
    convert(DATA / case, output, precision=precision, progress=lambda _done, _total: None)
    return output


def copy_case(case: str, folder: Path) -> Path:
    return Path(shutil.copytree(DATA / case, folder / case))


def edit_json(file: Path, **changes: object) -> None:
    content = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(content | changes), "utf-8")


def edit_header(file: Path, edit: Callable[[Header], object]) -> None:
    stored = split(file.read_bytes())
    edit(stored.header)
    file.write_bytes(join(stored))


def split(content: bytes) -> Stored:
    start = 8 + int.from_bytes(content[:8], "little")
    return Stored(json.loads(content[8:start]), content[start:])


def join(stored: Stored) -> bytes:
    header = json.dumps(stored.header).encode()
    return len(header).to_bytes(8, "little") + header + stored.data


def overwrite(checkpoint: Path, tensor: str, element: bytes) -> None:
    """Replace the first element of a tensor."""
    found = find_tensors(checkpoint)[tensor]
    with found.file.open("r+b") as file:
        file.seek(found.offset)
        file.write(element)
