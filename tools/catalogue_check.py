"""Check the shipped catalogue: every fact has a source, and the numbers of an architecture add up.

`nimctl profiles validate` tells whether a file is sound; this asks more of the files that are
shipped. With a directory as argument, those in it are checked.
"""

import sys
import typing
from collections.abc import Iterator
from pathlib import Path

from nimctl import catalog
from nimctl.core.architecture import Architecture, active_parameters, decoder_parameters
from nimctl.core.catalogue import Family, Model
from nimctl.core.refs import ModelRef

FEWEST_MODELS = 30
# Biases and norms of single heads are not counted: at most 0.03 % of a model that is here.
TOLERANCE = 0.002


def complaints(directory: Path) -> Iterator[str]:
    """All that is wrong with the catalogue in a directory, one line each."""
    checked = [catalog.check(path) for path in catalog.files_in([directory])]
    yield from (
        f"{file.file}:{flaw.line}: {flaw.place}: {flaw.message}"
        for file in checked
        for flaw in file.flaws
    )
    models = catalog.Catalog(directory).all()
    yield from (f"{model.name}: {one}" for model in models for one in _complaints(model))
    if len(models) < FEWEST_MODELS:
        yield f"{len(models)} models are fewer than {FEWEST_MODELS}"
    missing = set(typing.get_args(Family)) - {model.family for model in models}
    yield from (f"no model of the family {family}" for family in sorted(missing))


def _complaints(model: Model) -> Iterator[str]:
    own = _repository(model.reference)
    ours = own.startswith("package://")
    if not (model.source or model.unverified or ours):
        yield "it has no source and is not marked unverified"
    if model.architecture and not ours:
        yield from _architecture_complaints(model.architecture)
    for profile in model.profiles:
        if not (profile.evidence or profile.unverified or _repository(profile.source) == own):
            yield f"nothing names the source of {profile.name}, and it is not marked unverified"
    for variant in model.variants:
        if not (variant.evidence or variant.unverified):
            what = f"{variant.backend} in {', '.join(variant.precisions)}"
            yield f"nothing is named that tells of {what}, and it is not marked unverified"
    if model.family in ("llm", "vlm") and not (model.architecture or model.nim):
        yield "an LLM has neither an architecture nor a NIM"
    if model.family not in ("llm", "vlm") and model.nim is None:
        yield f"a model of the family {model.family} has no NIM"


def _architecture_complaints(architecture: Architecture) -> Iterator[str]:
    if not (architecture.source or architecture.unverified):
        yield "its architecture has no source and is not marked unverified"
    if architecture.parameters_from is None:
        yield "it does not say where the number of parameters is from"
    stated = {
        "parameters": (architecture.parameters, decoder_parameters(architecture)),
        "active parameters": (architecture.active_parameters, active_parameters(architecture)),
    }
    for what, (says, adds_up_to) in stated.items():
        if says is None or adds_up_to is None:
            continue
        if abs(says - adds_up_to) > TOLERANCE * says:
            yield f"it says {says:,} {what}, its architecture adds up to {adds_up_to:,}"


def _repository(reference: str | None) -> str:
    if reference is None:
        return ""
    ref = ModelRef.parse(reference)
    return f"{ref.scheme}://{ref.path}"


def main() -> int:
    """Print the complaints and count them."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else catalog.packaged_directory()
    found = list(complaints(directory))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
