"""Archives made by Python's own modules, and what came out of them."""

import gzip
import hashlib
import io
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, cast

from nimctl.store.extract import ExtractLimits, Extractor, Kind, Member

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Files = Mapping[str, bytes]


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    """Data as it may arrive."""
    return (data[start : start + size] for start in range(0, len(data), size))


def unpack(
    directory: Path,
    kind: Kind,
    data: bytes | Iterable[bytes],
    *,
    limits: ExtractLimits | None = None,
    on_file: Callable[[Member], None] | None = None,
) -> dict[str, bytes]:
    """Unpack an archive into a new directory; its files, which are those on disk."""
    directory.mkdir(mode=0o700)
    with Extractor(directory, kind, limits=limits, on_file=on_file) as extractor:
        for piece in [data] if isinstance(data, bytes) else data:
            extractor.feed(piece)
        members = extractor.finish()
    found = files_below(directory)
    assert {member.path: member.sha256 for member in members} == {
        path: hashlib.sha256(content).hexdigest() for path, content in found.items()
    }
    assert all(member.size == len(found[member.path]) for member in members)
    return found


def files_below(directory: Path) -> dict[str, bytes]:
    """The files below a directory; fails if there is anything but files and directories."""
    found = {}
    for parent, _, names in os.walk(directory):
        for path in (Path(parent, name) for name in names):
            assert not path.is_symlink()
            assert path.is_file()
            found[str(path.relative_to(directory))] = path.read_bytes()
    return found


def plain(name: str, size: int = 0) -> tarfile.TarInfo:
    """A tar entry for a regular file."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A tar entry for something else."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tar_of_entries(
    entries: Iterable[tuple[tarfile.TarInfo, bytes]],
    *,
    form: int = tarfile.PAX_FORMAT,
    global_header: dict[str, str] | None = None,
) -> bytes:
    """A tar of these entries, whether they make sense or not."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form, pax_headers=global_header) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def tar_of(files: Files, *, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of regular files."""
    return tar_of_entries(
        ((plain(name, len(content)), content) for name, content in files.items()), form=form
    )


def zip_of(files: Files, *, method: int = zipfile.ZIP_DEFLATED, is_pipe: bool = False) -> bytes:
    """A zip of regular files; as written into a pipe, sizes follow the entries."""
    stream: Pipe | io.BytesIO = Pipe() if is_pipe else io.BytesIO()
    with zipfile.ZipFile(cast("IO[bytes]", stream), "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


class Pipe(io.RawIOBase):
    """A file that cannot seek."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._written += data
        return len(data)

    def getvalue(self) -> bytes:
        return bytes(self._written)


def zstd_of(data: bytes) -> bytes:
    """A zstd frame with a checksum, which the `zstd` program writes as well."""
    options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    return zstd.compress(data, options=options)


def archive_of(kind: Kind, files: Files) -> bytes:
    """An archive of regular files."""
    match kind:
        case "tar":
            return tar_of(files)
        case "tar.gz":
            return gzip.compress(tar_of(files), compresslevel=1)
        case "tar.zst":
            return zstd_of(tar_of(files))
        case "zip":
            return zip_of(files)
