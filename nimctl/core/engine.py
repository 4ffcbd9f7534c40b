"""What an engine depends on, and the key that this gives."""

import hashlib
from collections.abc import Iterable
from typing import Literal

from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.value import Value, canonical_json

# What is written beside an engine's files.
SIDECAR = "engine.json"


class EngineRecipe(Value):
    """How to build an engine, without the model that it is built from.

    `builder` names the program and version that builds; `limits` are the engine's fixed sizes
    (tokens, sequences); `flags` decide what comes out of the build; `calibration` is the sha256 of
    the texts that quantisation used. GPU fields are None for engines that run on any CPU.
    """

    backend: str
    precision: str
    builder: str
    strategy: str | None = None
    tp: int = 1
    pp: int = 1
    kv_cache: str | None = None
    limits: dict[str, int] = {}
    flags: dict[str, str] = {}
    calibration: str | None = None
    tensorrt_version: str | None = None
    compute_capability: str | None = None
    gpu: str | None = None

    def key(self, model_digest: str) -> str:
        """The engine key in hex: sha256 over everything that the engine depends on."""
        return hashlib.sha256(canonical_json([model_digest, self])).hexdigest()


class EngineFile(Value):
    """One file of an engine; `size` in bytes."""

    path: str
    size: int
    sha256: str


class WarmedUp(Value):
    """What came of starting the server of an engine once.

    `result` is `warm` when its kernels are kept, since now or since an earlier start; else `error`
    and `cause` say why they are not. `cache` is the directory and `image` the digest of the image
    that they are for.
    """

    result: Literal["warm", "failed"]
    image: str
    cache: str
    error: str | None = None
    cause: str | None = None


class Engine(Value):
    """The content of `engine.json`, written beside the engine's files.

    `created` is an RFC 3339 time in UTC. `image` is the digest of the image that built it, where
    one did; the key names the release in it. `warm_up` is the last start for the kernels' sake on
    this machine, None where there was none.
    """

    schema_version: int = 1
    key: str
    model_digest: str
    reference: str
    recipe: EngineRecipe
    created: str
    files: tuple[EngineFile, ...]
    image: str | None = None
    warm_up: WarmedUp | None = None

    @property
    def size(self) -> int:
        """Bytes of its files together."""
        return sum(file.size for file in self.files)


def chosen(engines: Iterable[Engine], which: str, model: str) -> Engine:
    """The engine of a model that a precision or the beginning of a key means.

    Raises:
        NotFoundError: There is none.
        UsageError: There are several.
    """
    found = [one for one in engines if one.recipe.precision == which or one.key.startswith(which)]
    if not found:
        raise NotFoundError(
            f"there is no engine {which} of {model} in the store",
            hint=f"nimctl build-engine {model} --precision {which}",
        )
    if len(found) > 1:
        raise UsageError(
            f"{model} has {len(found)} engines that `{which}` may mean",
            cause="they are " + ", ".join(map(_shown, found)),
            hint=f"name one by the beginning of its key, such as {found[0].key[:12]}",
        )
    return found[0]


def _shown(engine: Engine) -> str:
    recipe = engine.recipe
    parts = (recipe.backend, recipe.gpu, recipe.precision, f"tp{recipe.tp}", f"pp{recipe.pp}")
    return f"{engine.key[:12]} ({'-'.join(part for part in parts if part)})"
