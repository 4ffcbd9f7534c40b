"""In what two engines differ, and whether one can serve in place of the other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from nimctl.core.engine import Engine, EngineRecipe
from nimctl.core.errors import HardwareError
from nimctl.core.facts import Artifact
from nimctl.core.profile import Profile
from nimctl.core.value import Value

# The most decisive first: a GPU that is another one explains everything that follows from it.
_DECISIVE = (
    "backend",
    "strategy",
    "compute_capability",
    "gpu",
    "tensorrt_version",
    "builder",
    "precision",
    "tp",
    "pp",
    "kv_cache",
    "calibration",
    "limits",
    "flags",
)
_TITLES = {
    "compute_capability": "compute capability",
    "gpu": "GPU",
    "tensorrt_version": "TensorRT version",
    "tp": "tensor parallelism",
    "pp": "pipeline parallelism",
    "kv_cache": "KV cache",
    "calibration": "calibration data",
}


class Difference(Value):
    """A field in which an engine is not what is needed; None where one of them has none."""

    field: str
    needed: str | None
    found: str | None

    @property
    def words(self) -> str:
        """For people."""
        return f"its {self.field} is {self.found or 'none'}, needed is {self.needed or 'none'}"


class MismatchError(HardwareError):
    """There is an engine, and it is not for this."""


def differences(needed: EngineRecipe, found: EngineRecipe) -> tuple[Difference, ...]:
    """In what an engine is not as needed, the most decisive field first; empty when it is."""
    return tuple(_differences(needed, found))


def obstacles(needed: EngineRecipe, found: EngineRecipe) -> tuple[Difference, ...]:
    """What stands against serving with an engine that was built elsewhere or otherwise.

    Larger limits and other tuning are no obstacle; the GPU, the versions, the precision and how it
    is divided are. A KV cache of another type is one where `needed` has a type.
    """
    limits = {name: min(limit, found.limits.get(name, 0)) for name, limit in needed.limits.items()}
    adjusted = msgspec.structs.replace(
        found,
        flags=needed.flags,
        kv_cache=found.kv_cache if needed.kv_cache else None,
        calibration=needed.calibration,
        limits=limits,
    )
    return differences(needed, adjusted)


def stands_for(recipe: EngineRecipe, profile: Profile) -> bool:
    """Whether an engine is one of a profile, whatever its limits and tuning."""
    return (
        (recipe.backend, recipe.precision, recipe.tp, recipe.pp)
        == (profile.backend, profile.precision, profile.tp, profile.pp)
    ) and profile.gpu in (None, recipe.gpu)


def built_profiles(
    profiles: Iterable[Profile],
    pinned: Mapping[str, Artifact | None],
    engines: Iterable[Engine],
) -> tuple[Profile, ...]:
    """Profiles for engines in the store that none of a model's own stands for.

    `pinned` are the model's sources; engines of other models are left out.
    """
    known = list(profiles)
    sources = {one.digest: source for source, one in pinned.items() if one and one.digest}
    found: list[Profile] = []
    for engine in engines:
        source, recipe = sources.get(engine.model_digest), engine.recipe
        if source is None or recipe.strategy != "tensorrt":
            continue
        alike = (one for one in (*known, *found) if one.has_engine and one.source == source)
        if not any(stands_for(recipe, one) for one in alike):
            found.append(
                Profile(
                    backend=recipe.backend,
                    precision=recipe.precision,
                    source=source,
                    build=True,
                    tp=recipe.tp,
                    pp=recipe.pp,
                    gpu=recipe.gpu,
                )
            )
    return tuple(found)


def kv_caches_of(
    profiles: Iterable[Profile],
    pinned: Mapping[str, Artifact | None],
    engines: Sequence[Engine],
) -> dict[str, str]:
    """Types of the KV cache by the id of each profile that an engine stands for, the first of them.

    `pinned` are the model's sources.
    """
    found: dict[str, str] = {}
    for profile in profiles if engines else ():
        artifact = pinned.get(profile.source or "")
        digest = artifact.digest if artifact else None
        own = (one.recipe for one in engines if one.model_digest == digest)
        recipe = next((one for one in own if stands_for(one, profile)), None)
        if recipe is not None and recipe.kv_cache is not None:
            found[profile.id] = recipe.kv_cache
    return found


def check_usable(
    needed: EngineRecipe,
    engine: Engine,
    model: str,
    model_digest: str | None = None,
    *,
    command: str | None = None,
) -> None:
    """Refuse an engine that is not for this, before anything loads it.

    `command` is the one that builds what is needed, where more than `needed` tells decides.

    Raises:
        MismatchError: It names the one field that decides, and the command that mends it.
    """
    found = obstacles(needed, engine.recipe)
    if model_digest is not None and model_digest != engine.model_digest:
        other = Difference(field="model", needed=model_digest[:12], found=engine.model_digest[:12])
        found = (other, *found)
    if not found:
        return
    more = f"; it differs in {len(found)} fields, this one decides" if len(found) > 1 else ""
    raise MismatchError(
        f"the engine {engine.key[:12]} is not for this: {found[0].words}",
        cause=f"it was built by {engine.recipe.builder} on {engine.created[:10]}{more}",
        hint=command or build_command(needed, model),
    )


def build_command(
    needed: EngineRecipe, model: str, *, image: str | None = None, takes_texts: bool = False
) -> str:
    """The command that builds what is needed; `needed` has those limits alone that were asked for.

    Texts are not in a recipe, only their digest; `image` is the builder's that was asked for.
    """
    words = ["nimctl build-engine", model, "--precision", needed.precision]
    degrees = {"tp": needed.tp, "pp": needed.pp}
    words += [f"--{name} {degree}" for name, degree in degrees.items() if degree > 1]
    words += [f"--{name.replace('_', '-')} {limit}" for name, limit in needed.limits.items()]
    words += [f"--kv-cache-dtype {needed.kv_cache}"] if needed.kv_cache else []
    words += [f"--image {image}"] if image else []
    return " ".join((*words, "--calib FILE") if needed.calibration or takes_texts else words)


def _differences(needed: EngineRecipe, found: EngineRecipe) -> Iterator[Difference]:
    for field in _DECISIVE:
        left, right = getattr(needed, field), getattr(found, field)
        title = _TITLES.get(field, field)
        if isinstance(left, dict):
            for name in sorted({*left, *right}):
                if left.get(name) != right.get(name):
                    yield _difference(name, left.get(name), right.get(name))
        elif left != right:
            yield _difference(title, left, right)


def _difference(field: str, needed: object, found: object) -> Difference:
    return Difference(
        field=field,
        needed=None if needed is None else str(needed),
        found=None if found is None else str(found),
    )
