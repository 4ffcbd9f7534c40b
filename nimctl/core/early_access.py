"""NVIDIA's early-access models of 2024: recognised by their names, or by what they hold.

A version is called MODEL-CONTEXT-PRECISION-GPUS-GPU.RELEASE and holds one tarball of that name,
which unpacks to `model-store/` with two Triton model directories. Source: NVIDIA's getting-started
text of March 2024 and deployments of that time; NVIDIA/nim-deploy 0a470bb^, helm/nim-llm.
"""

import re
from pathlib import PurePosixPath

from nimctl.core.archives import archive_stem
from nimctl.core.catalogue import Model, Nim
from nimctl.core.facts import Artifact
from nimctl.core.profile import Profile
from nimctl.core.refs import ModelRef

PROGRAM = "ohlfw0olaadg/ea-participants"
STORE = "model-store"
_IMAGE = f"nvcr.io/{PROGRAM}/nemollm-inference-ms"
# The release of the run line in NVIDIA's text, for a store whose name tells none.
_USUAL_RELEASE = "24.01"
_MARK = f"{STORE}/ensemble/config.pbtxt"
_VERSION = re.compile(
    r"(?P<model>.+)-(?P<context>\d+)K-(?P<precision>[A-Z]+\d+)-(?P<gpus>\d+)-(?P<gpu>\w+)"
    r"\.(?P<release>\d\d\.\d\d)",
    re.ASCII | re.IGNORECASE,
)


def early_access_model(ref: ModelRef, artifact: Artifact) -> Model | None:
    """The model in the words of the container that served it; None for any other model."""
    named = _VERSION.fullmatch(_version_name(ref))
    if named is None and not any(file.path == _MARK for file in artifact.files):
        return None
    release = named["release"] if named else _USUAL_RELEASE
    profile = Profile(
        backend="nemollm",
        precision=named["precision"].lower() if named else "fp16",
        source=str(ref),
        tp=int(named["gpus"]) if named else 1,
        gpu=named["gpu"].lower() if named else None,
    )
    return Model(
        name=_model_name(ref, named["model"] if named else None),
        title=ref.short_name,
        reference=str(ref),
        profiles=(profile,),
        nim=Nim(
            image=f"{_IMAGE}:{release}",
            source="https://github.com/NVIDIA/nim-deploy",
            ports={"http": 9999},
            cache_path=f"/{STORE}",
            shm_gib=1,
            unverified=named is None,
        ),
    )


def _version_name(ref: ModelRef) -> str:
    if ref.scheme == "ngc":
        return ref.revision or ""
    return archive_stem(PurePosixPath(ref.path).name) or ""


def _model_name(ref: ModelRef, in_version: str | None) -> str:
    if ref.scheme == "ngc":
        return PurePosixPath(ref.path).name
    return (in_version or archive_stem(PurePosixPath(ref.path).name) or ref.short_name).lower()
