"""Artifacts that come as archives: what is unpacked, and what an unpacked one came from."""

from collections.abc import Iterable

import msgspec

from nimctl.core.errors import VerificationError
from nimctl.core.facts import Artifact, File
from nimctl.core.names import PathTree
from nimctl.core.refs import ModelRef

_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".zip")
# A Hugging Face repository is a directory of files already; an archive in it is one of them.
_INSIDE = "#!/"
_SCHEMES = ("https", "http", "ngc", "oci", "s3", "file")


def archives_in(artifact: Artifact) -> tuple[File, ...]:
    """The files that are to be unpacked; not what lay in an archive itself."""
    if ModelRef.parse(artifact.reference).scheme not in _SCHEMES:
        return ()
    return tuple(
        file
        for file in artifact.files
        if file.path.lower().endswith(_ENDINGS) and _INSIDE not in file.url
    )


def archive_stem(name: str) -> str | None:
    """A file's name without the ending of an archive; None when it is none."""
    ending = next((one for one in _ENDINGS if name.lower().endswith(one)), None)
    return name[: -len(ending)] if ending else None


def unpacked(
    artifact: Artifact,
    archive: File,
    members: Iterable[File],
    empty_directories: Iterable[str] = (),
) -> Artifact:
    """The artifact with one archive's members in its place, and the directories without any.

    Raises:
        VerificationError: What it holds and the other files cannot lie side by side.
    """
    kept = tuple(file for file in artifact.files if file is not archive)
    files, directories = (*kept, *members), (*artifact.directories, *empty_directories)
    tree = PathTree()
    try:
        for file in files:
            tree.add_file(file.path)
        for path in directories:
            tree.add_directory(path)
    except VerificationError as error:
        raise VerificationError(
            f"what {archive.path} holds does not go with the other files", cause=error.message
        ) from error
    archives = (*artifact.archives, archive)
    return msgspec.structs.replace(
        artifact, files=files, archives=archives, directories=directories
    )


def packed(artifact: Artifact) -> Artifact:
    """The artifact as its registry has it: archives in place of what was unpacked from them."""
    sources = tuple(member_url(archive, "") for archive in artifact.archives)
    plain = tuple(file for file in artifact.files if not file.url.startswith(sources))
    return msgspec.structs.replace(
        artifact, files=(*plain, *artifact.archives), archives=(), directories=()
    )


def settled(resolved: Artifact, pinned: Artifact | None) -> Artifact:
    """What was unpacked before, if the registry still has the same files; else `resolved`."""
    if pinned is None or not pinned.archives:
        return resolved
    before = {(file.path, file.sha256) for file in packed(pinned).files}
    now = {(file.path, file.sha256) for file in resolved.files}
    return pinned if now == before else resolved


def member_url(archive: File, path: str) -> str:
    """Where a member comes from; no URL of a file ends so, as fragments are never sent."""
    return f"{archive.url}{_INSIDE}{path}"
