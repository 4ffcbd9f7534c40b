"""Engines on their way between machines: tar files, and files from the blob store."""

import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from nimctl.core.engine import SIDECAR, Engine, EngineFile
from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.events import Emit, Finished, Progressed, Started
from nimctl.store.disk import translated_disk_errors
from nimctl.store.extract import Extractor, kind_of

_CHUNK_BYTES = 1 << 20
_MAGIC_BYTES = 512


def write_tar(engine: Engine, directory: Path, target: Path, emit: Emit) -> int:
    """Write an engine with its sidecar, which comes first, to a tar file; its size in bytes.

    Raises:
        UsageError: There is such a file already, or nowhere to write it.
        DiskFullError: There is no room.
    """
    if target.exists():
        raise UsageError(f"{target} exists already", hint="name another file, or remove it")
    if not target.parent.is_dir():
        raise UsageError(
            f"there is no directory {target.parent} to write {target.name} to",
            hint=f"mkdir -p {target.parent}",
        )
    task = f"export {engine.key[:12]}"
    emit(Started(task=task, title=f"writing {target}", total=engine.size))
    staged = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    done = 0
    try:
        with translated_disk_errors(target), tarfile.open(staged, "w") as tar:
            for name in (SIDECAR, *(file.path for file in engine.files)):
                tar.add(directory / name, name, recursive=False, filter=_anonymous)
                done += (directory / name).stat().st_size
                emit(Progressed(task=task, done=min(done, engine.size)))
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)
    emit(Finished(task=task))
    return target.stat().st_size


def unpack(archive: Path, directory: Path, emit: Emit) -> Iterator[EngineFile]:
    """Unpack an archive into a fresh directory; what it holds, hashed on the way.

    Raises:
        NotFoundError: There is no such file.
        UsageError: It is a directory, or no archive.
        VerificationError: It is malformed.
        DiskFullError: There is no room.
    """
    try:
        file = archive.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {archive}") from error
    except IsADirectoryError as error:
        raise UsageError(
            f"{archive} is a directory", hint=f"nimctl engines import file://{archive.resolve()}"
        ) from error
    task = f"import {archive.name}"
    with file:
        kind = kind_of(archive.name, file.read(_MAGIC_BYTES))
        if kind is None:
            raise UsageError(f"{archive} is no archive", cause="it is neither tar nor zip")
        file.seek(0)
        emit(Started(task=task, title=f"reading {archive}", total=archive.stat().st_size))
        with Extractor(directory, kind) as extractor:
            while chunk := file.read(_CHUNK_BYTES):
                extractor.feed(chunk)
                emit(Progressed(task=task, done=file.tell()))
            members = extractor.finish()
    emit(Finished(task=task))
    for member in members:
        yield EngineFile(path=member.path, size=member.size, sha256=member.sha256)


def link(blobs: Mapping[EngineFile, Path], directory: Path) -> Iterator[EngineFile]:
    """Link verified files into a fresh directory, or copy them from another file system."""
    for file, source in blobs.items():
        target = directory / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with translated_disk_errors(target):
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
        yield file


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    # Equal engines give equal archives, whoever packs them and when.
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o444
    return member
