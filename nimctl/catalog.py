"""The catalogue: one YAML file a model, the user's own before those that nimctl brings."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from nimctl import safe_yaml
from nimctl.core.catalogue import Model
from nimctl.core.catalogue_rules import broken_rules
from nimctl.core.errors import NotFoundError, VerificationError
from nimctl.core.flaws import Flaw, schema_flaws
from nimctl.core.reports import CheckedFile, PlacedFlaw

SUFFIX = ".yaml"
_NEAR = 3
# The largest file of the shipped catalogue has 4 KB.
_LIMITS = safe_yaml.Limits(document_bytes=2**20, values=20_000)


def packaged_directory() -> Path:
    """Where the shipped catalogue lies: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).parent
    inside = package / "profiles"
    return inside if inside.is_dir() else package.parent / "profiles"


class Catalog:
    """Directories of model files, each file read when it is asked for.

    Of two files for one name, that of the earlier directory counts.
    """

    def __init__(self, *directories: Path) -> None:
        self._directories = directories

    def names(self) -> list[str]:
        """The names of all models, sorted."""
        return sorted({path.name.removesuffix(SUFFIX) for path in self._paths(SUFFIX)})

    def find(self, name: str) -> Model:
        """Read one model.

        Raises:
            NotFoundError: There is none of this name; the hint has the nearest.
            VerificationError: Its file is malformed.
        """
        for directory in self._directories:
            path = directory / f"{name}{SUFFIX}"
            if path.exists() or path.is_symlink():
                return read(path)
        near = _near(name, self.names())
        raise NotFoundError(
            f"there is no model `{name}` in the catalogue",
            cause=f"near it are {', '.join(near)}" if near else None,
            hint="nimctl list-profiles shows all; hf://ORG/REPO, https:// and file:// work too",
        )

    def all(self) -> tuple[Model, ...]:
        """Every model whose file is sound, by name."""
        return self.read_all().models

    def read_all(self) -> "Reading":
        """Read every file; one that is broken stands in nobody's way."""
        models = []
        problems = [_misnamed(path) for path in self._paths(".yml")]
        for name in self.names():
            try:
                models.append(self.find(name))
            except VerificationError as error:
                problems.append(error)
        return Reading(tuple(models), tuple(problems))

    def _paths(self, suffix: str) -> Iterator[Path]:
        for directory in self._directories:
            yield from directory.glob(f"*{suffix}")


class Reading(NamedTuple):
    """What a whole catalogue gave: the models, by name, and why other files gave none."""

    models: tuple[Model, ...]
    problems: tuple[VerificationError, ...]


def _near(name: str, names: list[str]) -> list[str]:
    """The nearest names: `llama3.1` is the beginning of what is written `llama-3.1-8b-instruct`."""
    begun = [one for one in names if _letters(one).startswith(_letters(name))]
    close = difflib.get_close_matches(name, names, n=_NEAR, cutoff=0.5)
    return list(dict.fromkeys((*sorted(begun, key=len), *close)))[:_NEAR]


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name))


def files_in(places: Iterable[Path]) -> list[Path]:
    """The files among some paths, and those of the directories among them."""
    return [
        file
        for place in places
        for file in (sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place])
        if file.exists() or file.is_symlink()
    ]


def read(path: Path) -> Model:
    """Read one file.

    Raises:
        VerificationError: It is malformed; the cause has the first flaw and its place.
    """
    model, flaws = _judged(path)
    if model is not None and not flaws:
        return model
    more = f", and {len(flaws) - 1} more" if len(flaws) > 1 else ""
    raise VerificationError(
        f"{path} is no valid catalogue file",
        cause=_text(flaws[0]) + more,
        hint=f"nimctl profiles validate {path}",
    )


def check(path: Path) -> CheckedFile:
    """Read one file and tell all that is wrong with it."""
    try:
        model, flaws = _judged(path)
    except VerificationError as error:
        model = None
        flaws = (PlacedFlaw(line=None, place="", message=error.cause or error.message),)
    return CheckedFile(file=str(path), model=model.name if model else None, flaws=flaws)


def _judged(path: Path) -> tuple[Model | None, tuple[PlacedFlaw, ...]]:
    try:
        with path.open("rb") as file:
            # One byte more than is accepted, so that what is endless is refused as too large.
            data = file.read(_LIMITS.document_bytes + 1)
    except OSError as error:
        raise VerificationError(f"{path} cannot be read", cause=error.strerror) from error
    tree = safe_yaml.read(data, str(path), limits=_LIMITS)
    try:
        model = msgspec.convert(tree, Model)
    except msgspec.ValidationError as error:
        found = list(schema_flaws(tree, Model))
        return None, _placed(found or [Flaw(path=(), message=str(error))], data)
    return model, _placed(broken_rules(model, path.name.removesuffix(SUFFIX)), data)


def _placed(flaws: Iterable[Flaw], data: bytes) -> tuple[PlacedFlaw, ...]:
    placed = (
        PlacedFlaw(line=safe_yaml.line_of(data, flaw.path), place=flaw.place, message=flaw.message)
        for flaw in flaws
    )
    return tuple(sorted(placed, key=lambda flaw: flaw.line or 0))


def _text(flaw: PlacedFlaw) -> str:
    place = f", `{flaw.place}`" if flaw.place else ""
    return f"line {flaw.line}{place}: {flaw.message}"


def _misnamed(path: Path) -> VerificationError:
    return VerificationError(f"{path} is not read", hint=f"call it {path.stem}{SUFFIX}")
