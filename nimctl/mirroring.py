"""Laying a stored model out as a mirror, which nimctl reads, or NIM itself."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from nimctl import stored
from nimctl.core.errors import NotFoundError, UsageError, VerificationError
from nimctl.core.events import Emit, Finished, Progressed, Started
from nimctl.core.facts import Artifact
from nimctl.core.mirrors import CHECKSUMS, DEFAULT_REVISIONS, Source, key_of
from nimctl.core.names import safe_path
from nimctl.core.refs import ModelRef
from nimctl.core.reports import MirrorForm, MirrorReport
from nimctl.tools import Tools


def lay_out(
    ref: ModelRef, directory: Path, form: MirrorForm, tools: Tools, emit: Emit
) -> MirrorReport:
    """Put a pulled model's files where a mirror has them: hard links where that is possible.

    In a `tree`, a revision lies under the name that was asked for and under the one that it was
    pinned to; in a `bucket`, under the former. The list of digests comes last, so that a mirror
    never tells of files that are not there yet.

    Raises:
        NotFoundError: The store has nothing of the model, or not all.
        UsageError: It is from a registry that is not mirrored, or a name is too long for a file.
    """
    sources = [one for one in stored.artifacts_of(ref, tools) if _scheme(one) in DEFAULT_REVISIONS]
    if not sources:
        raise UsageError(
            f"{ref} is from no registry that is mirrored",
            cause="they are " + ", ".join(f"{scheme}://" for scheme in DEFAULT_REVISIONS),
        )
    emit(Started(task="mirror", title=str(ref), total=sum(one.size or 0 for one in sources)))
    files = done = 0
    for artifact in sources:
        for target, blob in _places(artifact, directory, form, tools).items():
            _put(blob, target)
            files, done = files + 1, done + blob.stat().st_size
            emit(Progressed(task="mirror", done=done))
        if form == "tree":
            _write_lists(artifact, directory)
    emit(Finished(task="mirror"))
    return MirrorReport(
        references=tuple(artifact.reference for artifact in sources),
        directory=str(directory),
        form=form,
        files=files,
        size_bytes=done,
    )


def _scheme(artifact: Artifact) -> str:
    return ModelRef.parse(artifact.reference).scheme


def _places(
    artifact: Artifact, directory: Path, form: MirrorForm, tools: Tools
) -> Mapping[Path, Path]:
    """Where each file goes, and the blob that it is."""
    ref = ModelRef.parse(artifact.reference)
    blobs = {file.path: tools.blobs.path(file.sha256 or "") for file in artifact.files}
    missing = [path for path, blob in blobs.items() if not blob.is_file()]
    if missing:
        hint = f"nimctl verify '{artifact.reference}' --repair"
        raise NotFoundError(f"{missing[0]} is missing in the store", hint=hint)
    if form == "bucket":
        asked = next(_revisions(artifact))
        return {
            directory / key_of(Source(ref.path, asked, path)): blob for path, blob in blobs.items()
        }
    return {
        place / path: blob
        for place in _directories(artifact, directory)
        for path, blob in blobs.items()
    }


def _directories(artifact: Artifact, directory: Path) -> Iterator[Path]:
    ref = ModelRef.parse(artifact.reference)
    for revision in _revisions(artifact):
        yield directory / ref.scheme / ref.path / safe_path(revision)


def _revisions(artifact: Artifact) -> Iterator[str]:
    """The revision that was asked for, and what it was pinned to if that is another."""
    ref = ModelRef.parse(artifact.reference)
    asked = ref.revision or DEFAULT_REVISIONS[ref.scheme]
    yield asked
    if artifact.revision not in (None, asked):
        yield artifact.revision or asked


def _put(blob: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{target} cannot be written", cause=error.strerror) from error
    try:
        target.hardlink_to(blob)
    except OSError:
        # Another file system, or one that has no links.
        shutil.copyfile(blob, target)


def _write_lists(artifact: Artifact, directory: Path) -> None:
    if any("\n" in file.path or "\\" in file.path for file in artifact.files):
        raise VerificationError(f"{artifact.reference} has a file that {CHECKSUMS} cannot name")
    lines = (f"{file.sha256}  {file.path}\n" for file in artifact.files)
    text = "".join(sorted(lines, key=lambda line: line.partition("  ")[2]))
    for place in _directories(artifact, directory):
        (place / CHECKSUMS).write_text(text, encoding="utf-8")
