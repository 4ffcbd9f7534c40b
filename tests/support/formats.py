"""Files of weights, harmless and not, made by hand: nothing here needs torch."""

import io
import struct
import tarfile
import zipfile
from pathlib import Path

from nimctl.store.formats import Finding, ScanLimits, inspect_file

DATA = Path(__file__).parent.parent / "data" / "formats"
# `os.system("ls")`, were it loaded, in protocol 0.
ATTACK = b"cos\nsystem\n(S'ls'\ntR."
IMPORTS_OS = "imports os.system"
# An ordered dictionary, empty.
HARMLESS = b"\x80\x02ccollections\nOrderedDict\n)R."
NOTE = "is a pickle, which can run code when it is loaded; prefer safetensors"


def inspect(
    directory: Path, name: str, content: bytes, limits: ScanLimits | None = None
) -> tuple[Finding, ...]:
    """Write a file and look into it."""
    path = directory / "weights"
    path.write_bytes(content)
    return inspect_file(path, name, limits)


def dangers(
    directory: Path, name: str, content: bytes, limits: ScanLimits | None = None
) -> list[str]:
    """What is dangerous in a file; nothing else may have been found."""
    found = inspect(directory, name, content, limits)
    assert all((one.path, one.severity) == (name, "danger") for one in found)
    return [one.message for one in found]


def short(text: str) -> bytes:
    """The opcode SHORT_BINUNICODE."""
    data = text.encode()
    return b"\x8c" + struct.pack("B", len(data)) + data


def state_dict(*imports: str) -> bytes:
    """A state dictionary in protocol 2 as torch writes it: one tensor, with persistent ids.

    `imports` are added as further values.
    """
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\nq\x03"
        b"((X\x07\x00\x00\x00storageq\x04ctorch\nFloatStorage\nq\x05"
        b"X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07K\x02tq\x08Q"
        b"K\x00K\x02\x85q\x09K\x01\x85q\x0a\x89h\x00)Rq\x0btq\x0cRq\x0d"
    )
    further = b"".join(
        b"K%c" % number + b"c" + name.replace(" ", "\n").encode() + b"\n"
        for number, name in enumerate(imports)
    )
    return (
        b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01("
        b"X\x01\x00\x00\x00wq\x02" + tensor + further + b"u."
    )


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def torch_zip(pickle: bytes, folder: str = "archive") -> bytes:
    """A checkpoint as torch writes it since 1.6."""
    return zip_of(
        {
            f"{folder}/data.pkl": pickle,
            f"{folder}/byteorder": b"little",
            f"{folder}/data/0": struct.pack("<2f", 1, 2),
            f"{folder}/version": b"3\n",
        }
    )


def tar_of(files: dict[str, bytes], mode: str = "w:", form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar archive, with `w:gz` a compressed one."""
    target = io.BytesIO()
    # mypy: `mode` selects an overload, and is one of two here.
    with tarfile.open(fileobj=target, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()
