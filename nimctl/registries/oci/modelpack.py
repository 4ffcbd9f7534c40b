"""Models as CNCF ModelPack artifacts: the documents that describe files. Pure.

https://github.com/modelpack/model-spec/blob/main/docs/spec.md and config.md
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from nimctl.core.names import safe_paths
from nimctl.core.value import Value, canonical_json
from nimctl.registries.oci.manifests import OCI_MANIFEST

ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
_LAYER_TYPE = "application/vnd.cncf.model.{kind}.v1.raw"

# The specification names the kinds and leaves it open which file is of which.
_WEIGHTS = (
    *(".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".nemo", ".onnx", ".npz"),
    *(".engine", ".plan", ".tflite", ".msgpack"),
)
_DOCUMENTS = re.compile(r"(readme|license|licence|notice|use_policy|copying)\b.*|.+\.(md|pdf|rst)")
_CODE = (".py", ".sh", ".ipynb", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".rs", ".go")
_DATA = (".parquet", ".arrow", ".csv", ".tsv", ".jsonl")


class ModelFile(NamedTuple):
    """A file to push: its name in the model, where it lies, sha256 in hex and size in bytes."""

    path: str
    source: Path
    sha256: str
    size: int


class ModelDescription(Value):
    """What is known about a model; each is free text in the specification's terms.

    `format` is such as `safetensors` or `gguf`, `param_size` such as `8.0B`, `precision` such as
    `bfloat16`, `quantization` such as `awq`; `licenses` are SPDX expressions.
    """

    name: str | None = None
    version: str | None = None
    family: str | None = None
    revision: str | None = None
    source_url: str | None = None
    licenses: tuple[str, ...] = ()
    architecture: str | None = None
    format: str | None = None
    param_size: str | None = None
    precision: str | None = None
    quantization: str | None = None


def config(files: Sequence[ModelFile], description: ModelDescription) -> bytes:
    """The configuration document; without a date, so that equal models have equal digests."""
    descriptor = {
        "name": description.name,
        "version": description.version,
        "family": description.family,
        "revision": description.revision,
        "sourceURL": description.source_url,
        "licenses": list(description.licenses) or None,
    }
    technical = {
        "architecture": description.architecture,
        "format": description.format,
        "paramSize": description.param_size,
        "precision": description.precision,
        "quantization": description.quantization,
    }
    # The digest of a raw layer is that of its content.
    digests = [f"sha256:{file.sha256}" for file in files]
    return canonical_json(
        {
            "descriptor": _known(descriptor),
            "config": _known(technical),
            "modelfs": {"type": "layers", "diffIds": digests},
        }
    )


def manifest(
    files: Sequence[ModelFile], config_sha256: str, config_bytes: int, notes: Mapping[str, str]
) -> bytes:
    """The manifest: one raw layer a file, in the order given; `notes` become its annotations."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": {
            "mediaType": CONFIG_TYPE,
            "digest": f"sha256:{config_sha256}",
            "size": config_bytes,
        },
        "layers": [_layer(file) for file in files],
    }
    return canonical_json(document | ({"annotations": dict(notes)} if notes else {}))


def ordered(files: Sequence[ModelFile]) -> tuple[ModelFile, ...]:
    """The files by name.

    Raises:
        VerificationError: A name is unsafe, or two are the same.
    """
    safe_paths(file.path for file in files)
    return tuple(sorted(files))


def kind(path: str) -> str:
    """What a file is for: `weight`, `weight.config`, `doc`, `code` or `dataset`."""
    name = PurePosixPath(path).name.lower()
    if name.endswith(_WEIGHTS):
        return "weight"
    if _DOCUMENTS.fullmatch(name):
        return "doc"
    if name.endswith(_CODE):
        return "code"
    return "dataset" if name.endswith(_DATA) else "weight.config"


def weights_format(paths: Iterable[str]) -> str | None:
    """The format that most of a model's weights have, by their endings; None without weights."""
    endings = Counter(
        PurePosixPath(path).suffix.removeprefix(".") for path in paths if kind(path) == "weight"
    )
    return endings.most_common(1)[0][0] if endings else None


def _layer(file: ModelFile) -> dict[str, Any]:
    return {
        "mediaType": _LAYER_TYPE.format(kind=kind(file.path)),
        "digest": f"sha256:{file.sha256}",
        "size": file.size,
        "annotations": {
            "org.cncf.model.filepath": file.path,
            # `kind` guesses by the name.
            "org.cncf.model.file.mediatype.untested": "true",
        },
    }


def _known(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
