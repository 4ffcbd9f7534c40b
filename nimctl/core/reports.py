"""What commands print with `--json`: one class a document, each with its schema in the docs."""

from typing import Literal

from nimctl.core.engine import Engine
from nimctl.core.facts import Artifact
from nimctl.core.findings import Finding
from nimctl.core.ngc import ModelVersion
from nimctl.core.plan import Plan
from nimctl.core.ports import Fetched
from nimctl.core.value import Value


class PulledFile(Value):
    """A file of the pulled artifact; size and bytes in bytes, `path` where it lies."""

    name: str
    path: str
    size: int
    sha256: str
    bytes_fetched: int
    bytes_reused: int


class PullReport(Value):
    """What `pull` brought; `findings` are about files that may run code when they are loaded."""

    schema_version: int = 1
    model: str
    reference: str
    revision: str | None
    files: tuple[PulledFile, ...]
    findings: tuple[Finding, ...]
    bytes_fetched: int
    bytes_reused: int


class PulledSource(Value):
    """What a profile took from one version of a model.

    `cached` is the directory in NIM's cache that has the files, None where none has.
    """

    reference: str
    revision: str | None
    files: tuple[PulledFile, ...]
    cached: str | None = None


class ProfilePullReport(Value):
    """What `pull --manifest` brought, and where it was laid out.

    `inferred_blob_names` counts blobs of the cache whose ETag is not known, so that they are named
    by sha256. `environment` is what makes a container take the profile.
    """

    schema_version: int = 1
    profile: str
    name: str
    model: str | None
    sources: tuple[PulledSource, ...]
    cache: str | None
    model_store: str | None
    inferred_blob_names: int
    environment: dict[str, str]
    findings: tuple[Finding, ...]
    bytes_fetched: int
    bytes_reused: int


class BuildReport(Value):
    """The engine that `build-engine` made or found, and the notes of its plan."""

    schema_version: int = 1
    model: str
    profile: str
    built: bool
    directory: str
    engine: Engine
    notes: tuple[str, ...] = ()


class FailedBuild(Value):
    """A profile whose engine was not built."""

    profile: str
    error: str
    cause: str | None


class BuildReports(Value):
    """What `build-engine --profiles` made."""

    schema_version: int = 1
    model: str
    builds: tuple[BuildReport, ...]
    failed: tuple[FailedBuild, ...]


class BuildPlans(Value):
    """What `build-engine --profiles` would do, a plan for each profile.

    `failed` are those that cannot be built, with `--keep-going`.
    """

    schema_version: int = 1
    model: str
    plans: tuple[Plan, ...]
    failed: tuple[FailedBuild, ...] = ()


class ListedEngine(Value):
    """An engine in the store; `last_used` RFC 3339, `servers` are those that have it loaded."""

    engine: Engine
    size_bytes: int
    directory: str
    last_used: str
    servers: tuple[str, ...]


class EngineList(Value):
    """What `engines` prints."""

    schema_version: int = 1
    home: str
    engines: tuple[ListedEngine, ...]


class EnginesRemoved(Value):
    """What `engines rm` and `engines prune` removed, or would remove: keys."""

    schema_version: int = 1
    engines: tuple[str, ...]
    bytes_freed: int


class ExportReport(Value):
    """Where `engines export` wrote an engine."""

    schema_version: int = 1
    key: str
    target: str
    size_bytes: int


class ImportReport(Value):
    """The engine that `engines import` took in, or found there already."""

    schema_version: int = 1
    engine: Engine
    imported: bool
    directory: str


class StoredSource(Value):
    """A source of a model that the store holds; `size` in bytes, `pulled` RFC 3339."""

    reference: str
    revision: str | None
    size: int
    files: int
    complete: bool
    pulled: str


class StoredModel(Value):
    """A model in the store; `size_bytes` counts its files and engines, shared blobs too."""

    model: str
    sources: tuple[StoredSource, ...]
    engines: tuple[Engine, ...]
    size_bytes: int


class StoredModels(Value):
    """All models in the store."""

    schema_version: int = 1
    home: str
    models: tuple[StoredModel, ...]


class ModelReport(Value):
    """What `inspect` tells of a model: its files as pinned, and its engines."""

    schema_version: int = 1
    model: str
    artifacts: tuple[Artifact, ...]
    engines: tuple[Engine, ...]


class Removed(Value):
    """What `rm` removed; `bytes_freed` counts blobs and engines."""

    schema_version: int = 1
    model: str | None
    servers: tuple[str, ...]
    engines: tuple[str, ...]
    bytes_freed: int


class ListedVersion(Value):
    """A version on NGC; `fits` is None when it is bound to no GPU."""

    version: ModelVersion
    fits: bool | None


class VersionList(Value):
    """What `versions` prints."""

    schema_version: int = 1
    reference: str
    versions: tuple[ListedVersion, ...]


class PushReport(Value):
    """What `push` sent; `digest` is the manifest's."""

    schema_version: int = 1
    reference: str
    digest: str
    files: tuple[str, ...]
    size_bytes: int


MirrorForm = Literal["tree", "bucket"]


class MirrorReport(Value):
    """What `mirror` laid out; `files` and bytes count a revision twice that has two names."""

    schema_version: int = 1
    references: tuple[str, ...]
    directory: str
    form: MirrorForm
    files: int
    size_bytes: int


class ByteRange(Value):
    """Bytes `start` to `end` (exclusive) of a file."""

    start: int
    end: int


class Damage(Value):
    """A file that is not what it was: `state` is `damaged` or `missing`; `engine` is its key.

    `ranges` are where a damaged file is, as far as that is known: only they are fetched again.
    """

    reference: str
    path: str
    sha256: str
    state: str
    ranges: tuple[ByteRange, ...] = ()
    engine: str | None = None


class VerifyReport(Value):
    """What `verify` found; sizes in bytes."""

    schema_version: int = 1
    files_checked: int
    bytes_checked: int
    damaged: tuple[Damage, ...]
    repaired: bool


class PruneReport(Value):
    """What `prune` removed, or would remove.

    sha256 of blobs, ids of unfinished transfers, directories of kernels that servers compiled.
    """

    schema_version: int = 1
    blobs: tuple[str, ...]
    unfinished: tuple[str, ...]
    kernels: tuple[str, ...] = ()
    bytes_freed: int


class PlacedFlaw(Value):
    """Something wrong with a file.

    `line` counts from 1, None where it is no YAML; `place` is like `profiles[0].tp`, empty for the
    whole document.
    """

    line: int | None
    place: str
    message: str


class CheckedFile(Value):
    """A catalogue file and all that is wrong with it; `model` is None when nothing can be read."""

    file: str
    model: str | None
    flaws: tuple[PlacedFlaw, ...]


class ValidationReport(Value):
    """What `profiles validate` found."""

    schema_version: int = 1
    files: tuple[CheckedFile, ...]


class CatalogueDirectories(Value):
    """Where `profiles path` says that model files are read from; `user` comes first."""

    schema_version: int = 1
    user: str
    shipped: str


class ErrorReport(Value):
    """What a failed command prints on stderr with `--json`."""

    schema_version: int = 1
    error: str
    cause: str | None
    hint: str | None
    exit_code: int


class Brought(Value):
    """An artifact that a fetch brought, and how each of its files came."""

    artifact: Artifact
    fetched: tuple[Fetched, ...]


class Outcome(Value):
    """What running a plan gave."""

    brought: tuple[Brought, ...] = ()
    findings: tuple[Finding, ...] = ()
    engine: Engine | None = None
    built: bool = False
