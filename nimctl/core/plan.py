"""Plans: the steps that a command will take, as data."""

from typing import TypeAlias

import msgspec

from nimctl.core.containers import ContainerSpec
from nimctl.core.engine import Engine, EngineRecipe
from nimctl.core.facts import Artifact, File
from nimctl.core.nim_workspace import CachedModel, StoreFile
from nimctl.core.router import Router
from nimctl.core.servers import Readiness, Server, labels_of
from nimctl.core.trtllm.job import EngineJob
from nimctl.core.trtllm.kernel_cache import KernelCache
from nimctl.core.value import Value


class Fetch(Value, tag=True):
    """Bring an artifact's missing files into the blob store and pin it under `reference`.

    `unpack` has the paths of archives: what they hold is kept and pinned in their place.
    """

    reference: str
    artifact: Artifact
    missing: tuple[File, ...]
    unpack: tuple[str, ...] = ()


class Assemble(Value, tag=True):
    """Lay out an artifact's files in a directory of the model store, as hard links.

    `links` are those whose blobs are there when the plan is made: paths to blobs. `directories`
    have nothing in them.
    """

    reference: str
    directory: str
    links: dict[str, str] = {}
    directories: tuple[str, ...] = ()


class Build(Value, tag=True):
    """Build an engine from the checkpoint in `directory`, unless its key is in the store.

    `key` is None while the checkpoint's digest is unknown; it is then known after the fetch.
    `job` has the commands that build it; None where nimctl converts the checkpoint itself.
    """

    reference: str
    directory: str
    recipe: EngineRecipe
    key: str | None
    job: EngineJob | None = None


class Attach(Value, tag=True):
    """Link an engine that the store has into a directory of the model store.

    `engine` is its own directory; None while it is not built or adopted, which the step before
    does.
    """

    reference: str
    directory: str
    recipe: EngineRecipe
    engine: str | None = None


class Adopt(Value, tag=True):
    """Take an engine that was built elsewhere into the store, from files that were fetched.

    `files` maps paths in the engine to those in the artifact. `key` is None while the artifact's
    digest is unknown; `sidecar` is the engine's own, else one is written. `directory` is where a
    server of the model reads, and `links` are the blobs that were there when the plan was made, by
    path in the artifact.
    """

    reference: str
    files: dict[str, str]
    recipe: EngineRecipe
    key: str | None
    sidecar: Engine | None = None
    directory: str
    links: dict[str, str] = {}


class FillCache(Value, tag=True):
    """Lay out artifacts in `directory` as NIM's cache has them: hard links, or copies elsewhere."""

    directory: str
    models: tuple[CachedModel, ...]


class FillStore(Value, tag=True):
    """Lay out a profile's workspace in `directory`, as NIM's `create-model-store` does."""

    directory: str
    profile: str
    files: tuple[StoreFile, ...]


class PullImage(Value, tag=True):
    """Have the container engine bring an image; `platform` as in `linux/amd64`."""

    image: str
    platform: str


class Write(Value, tag=True):
    """Write a file that a server reads; it holds no secret."""

    path: str
    text: str


class Configure(Value, tag=True):
    """Write a router's configuration, with the digests of the keys in `api_key_file`.

    That file is made first, with a new key, if it is `generate_api_key`. `user` is UID:GID of who
    reads the configuration, None for who writes it.
    """

    router: Router
    api_key_file: str | None = None
    generate_api_key: bool = False
    user: str | None = None


class Launch(Value, tag=True):
    """Start a server as a process; `argv` runs as it stands.

    The server's API key file is made, with a new key, if it is `generate_api_key`. `is_ours` tells
    that it is nimctl's own program, which takes `--die-with-parent`.
    """

    server: Server
    argv: tuple[str, ...]
    detach: bool
    generate_api_key: bool = False
    is_ours: bool = True


class LaunchContainer(Value, tag=True):
    """Start a server in a container.

    The files that its secrets are read from are made first: the API key file, with a new key, if
    it is `generate_api_key`, and `registry_key_file` with the registry's key. `cache` says under
    what its kernels are kept; the container has the directory when all of that is known already.
    With `alone` no other server may have come to have its GPUs since this was planned.
    """

    server: Server
    container: ContainerSpec
    detach: bool
    alone: bool = False
    generate_api_key: bool = False
    registry_key_file: str | None = None
    cache: KernelCache | None = None


def labelled(step: LaunchContainer) -> ContainerSpec:
    """The container with the labels that the server is known by."""
    labels = {**step.container.labels, **labels_of(step.server)}
    return msgspec.structs.replace(step.container, labels=labels)


class Await(Value, tag=True):
    """Wait until a server answers, within `timeout_s` seconds.

    With `limit_s` that time is moved on while the server visibly loads, and this is the end of it.
    `until` tells what counts: `none` that it was started, `ready` HTTP 200 on its health path,
    `token` one token of an answer as well.
    """

    server: Server
    timeout_s: float
    limit_s: float | None = None
    until: Readiness = "ready"


class Replace(Value, tag=True):
    """Put a replica in another's place, behind a router that goes on serving.

    The old one gets no new requests, and `drain_s` seconds to finish those that it has; it comes
    back if the new one does not get ready.
    """

    launch: LaunchContainer
    ready: Await
    drain_s: float


class WarmUp(Value, tag=True):
    """Start a server once, for one token, so that what it compiles is there for the next ones.

    Nothing is done when that has been; a start that fails is told, and does not fail the plan.
    """

    launch: LaunchContainer
    ready: Await


Step: TypeAlias = (
    Fetch
    | Assemble
    | Build
    | Attach
    | Adopt
    | FillCache
    | FillStore
    | PullImage
    | Write
    | Configure
    | Launch
    | LaunchContainer
    | Await
    | Replace
    | WarmUp
)


class Plan(Value):
    """The steps in order, and why these.

    With `again`, what follows depends on what they bring, and is planned when they are done.
    """

    schema_version: int = 1
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    again: bool = False
