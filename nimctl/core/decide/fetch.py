"""Plans that bring files: pulling, and what every other plan begins with."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from nimctl.core.archives import archives_in, packed
from nimctl.core.decide.target import Surroundings, Target, directory, weights
from nimctl.core.errors import DiskFullError
from nimctl.core.facts import Artifact, File, Inventory
from nimctl.core.plan import Assemble, Fetch, Plan, Step
from nimctl.core.refs import ModelRef
from nimctl.core.sizes import in_words

_DISK_RESERVE_BYTES = 64 * 2**20


def plan_pull(source: ModelRef, artifact: Artifact, around: Surroundings) -> Plan:
    """Fetch what is missing; whether this machine can serve it is not asked.

    Raises:
        DiskFullError: The files do not fit.
    """
    step = fetch_step(str(source), artifact, around.inventory)
    check_disk(f"the download of {source}", room(step), around)
    return Plan(steps=(step,), notes=(disk_note(step.missing, around),))


def disk_note(wanted: Sequence[File], around: Surroundings) -> str:
    """How much is to come, and how much room there is."""
    unknown = sum(file.size is None for file in wanted)
    more = f" and {unknown} {'file' if unknown == 1 else 'files'} of unknown size"
    return (
        f"{size(wanted):,} bytes{more if unknown else ''} to fetch, "
        f"{around.host.disk_free_bytes:,} free under {around.layout.home}"
    )


def plan_opening(source: ModelRef, artifact: Artifact, around: Surroundings) -> Plan:
    """Fetch an artifact that has archives, before anything else can be planned.

    Raises:
        DiskFullError: The files do not fit.
    """
    plan = plan_pull(source, artifact, around)
    names = ", ".join(archive.path for archive in archives_in(artifact))
    note = f"{names} is unpacked first; how {source} can be run is planned by what it holds"
    return msgspec.structs.replace(plan, notes=(note, *plan.notes), again=True)


def fetch_step(reference: str, artifact: Artifact, inventory: Inventory) -> Fetch:
    """Fetch what the store does not have of an artifact, its archives unpacked."""
    if artifact.archives and missing(artifact, inventory):
        # What was unpacked cannot be had file by file.
        artifact = packed(artifact)
    return Fetch(
        reference=reference,
        artifact=artifact,
        missing=missing(artifact, inventory),
        unpack=tuple(archive.path for archive in archives_in(artifact)),
    )


def prepare(target: Target, around: Surroundings) -> Iterator[Step]:
    """Bring a target's files and lay them out."""
    source = target.artifact.reference
    absent = missing(target.artifact, around.inventory)
    # Where all is there, the fetch moves nothing and pins what the later steps go by.
    if absent or not around.inventory.pinned:
        yield fetch_step(source, target.artifact, around.inventory)
    laid_out = target.artifact
    if target.tokenizer is not None and target.tokenizer.reference != source:
        # The engine is attached to what has its tokenizer.
        laid_out = target.tokenizer
        yield fetch_step(laid_out.reference, laid_out, around.inventory)
    yield Assemble(
        reference=laid_out.reference,
        directory=str(directory(target, around.layout)),
        links={
            file.path: str(around.layout.blob(file.sha256))
            for file in laid_out.files
            if file.sha256 in around.inventory.blobs and file.sha256
        },
        directories=target.artifact.directories,
    )


def check_room(target: Target, around: Surroundings) -> None:
    """Refuse what does not fit.

    Raises:
        DiskFullError: The files or the engine do not fit.
    """
    need = room(fetch_step(target.artifact.reference, target.artifact, around.inventory))
    what = f"the download of {target.model}"
    candidate = target.candidate
    if candidate.profile.build and not candidate.cached:
        need += weights(target) or 0
        what += " and its engine"
    check_disk(what, need, around)


def room(step: Fetch) -> int:
    """Bytes that a fetch takes at its height, as far as sizes are known.

    An archive lies beside what it holds, which is hardly ever less, until all is unpacked; one on
    this machine stays where it is.
    """
    archives = [file for file in step.missing if file.path in step.unpack]
    local = [archive for archive in archives if archive.url.startswith("file:")]
    return size(step.missing) + size(archives) - size(local)


def check_disk(what: str, need: int, around: Surroundings) -> None:
    """Refuse what does not fit; `need` in bytes.

    Raises:
        DiskFullError: It does not.
    """
    free = around.host.disk_free_bytes
    if need and need + _DISK_RESERVE_BYTES > free:
        raise DiskFullError(
            f"{what} needs {in_words(need)}, and {in_words(free)} are free under "
            f"{around.layout.home}",
            cause=f"{in_words(_DISK_RESERVE_BYTES)} are left free, for what else is written",
            hint="free some space, or set NIMCTL_HOME to a larger disk",
        )


def missing(artifact: Artifact, inventory: Inventory) -> tuple[File, ...]:
    """The files that the store does not have."""
    return tuple(file for file in artifact.files if file.sha256 not in inventory.blobs)


def size(files: Iterable[File]) -> int:
    """Bytes of files together, as far as they are known."""
    return sum(file.size or 0 for file in files)
