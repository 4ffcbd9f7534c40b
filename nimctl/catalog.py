"""The catalogue: one YAML file a model, read strictly."""

import difflib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

from nimctl.core.catalogue import Model
from nimctl.core.errors import NotFoundError, VerificationError

_SUFFIX = ".yaml"


def packaged_directory() -> Path:
    """Where the shipped catalogue lies: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).parent
    inside = package / "profiles"
    return inside if inside.is_dir() else package.parent / "profiles"


class Catalog:
    """A directory of model files, each read when it is asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def names(self) -> list[str]:
        """The names of all models, sorted."""
        return sorted(path.name.removesuffix(_SUFFIX) for path in self._directory.glob("*.yaml"))

    def find(self, name: str) -> Model:
        """Read one model.

        Raises:
            NotFoundError: There is none of this name; the hint has the nearest.
            VerificationError: Its file is malformed.
        """
        path = self._directory / f"{name}{_SUFFIX}"
        if not path.is_file():
            near = difflib.get_close_matches(name, self.names(), n=3, cutoff=0.5)
            raise NotFoundError(
                f"there is no model `{name}` in the catalogue",
                cause=f"near it are {', '.join(near)}" if near else None,
                hint="nimctl list-profiles shows all; hf://ORG/REPO, https:// and file:// work too",
            )
        return _read(path)

    def all(self) -> Iterator[Model]:
        """Every model, by name."""
        for name in self.names():
            yield self.find(name)


def _read(path: Path) -> Model:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times as fast
    try:
        document = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 - both are safe loaders
        return msgspec.convert(document, Model)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise VerificationError(f"{path} is no valid catalogue file", cause=str(error)) from error
