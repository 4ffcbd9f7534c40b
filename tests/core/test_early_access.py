"""The models of NVIDIA's early-access program, from a name to the container that served them."""

import pytest

from nimctl.core.catalogue import Model, Nim
from nimctl.core.early_access import early_access_model
from nimctl.core.facts import Artifact, File
from nimctl.core.refs import ModelRef

VERSION = "LLAMA-2-7B-4K-FP16-1-A100.24.01"


def found(reference: str, *paths: str) -> Model | None:
    files = tuple(File(path=path, url=f"https://x/{path}") for path in paths)
    return early_access_model(ModelRef.parse(reference), Artifact(reference=reference, files=files))


def model_of(reference: str, *paths: str) -> tuple[Model, Nim]:
    model = found(reference, *paths)
    assert model
    assert model.nim
    return model, model.nim


@pytest.mark.parametrize(
    "reference",
    [
        f"ngc://ohlfw0olaadg/ea-participants/llama-2-7b:{VERSION}",
        f"file:///downloads/{VERSION}.tar.gz",
        f"https://mirror.example/{VERSION}.tar.gz",
    ],
)
def test_a_version_name_tells_model_gpu_precision_and_release(reference: str) -> None:
    model, nim = model_of(reference, f"{VERSION}.tar.gz")
    (profile,) = model.profiles
    assert model.name == "llama-2-7b"
    assert (profile.backend, profile.precision, profile.tp) == ("nemollm", "fp16", 1)
    assert profile.gpu == "a100"
    assert nim.image == "nvcr.io/ohlfw0olaadg/ea-participants/nemollm-inference-ms:24.01"
    assert not nim.unverified


def test_another_release_names_its_own_image() -> None:
    model, nim = model_of("ngc://org/ea/llama-2-70b:LLAMA-2-70B-4K-FP16-4-H100.24.02")
    assert nim.image.endswith(":24.02")
    assert (model.profiles[0].tp, model.profiles[0].gpu) == (4, "h100")


def test_a_model_store_without_a_telling_name_is_known_by_what_it_holds() -> None:
    model, nim = model_of("file:///downloads/mine.tar.gz", "model-store/ensemble/config.pbtxt")
    assert model.name == "mine"
    assert model.profiles[0].gpu is None
    assert nim.unverified


@pytest.mark.parametrize(
    "reference",
    [
        "ngc://nim/meta/llama-3_1-8b-instruct:hf-8c22764",
        "file:///downloads/llama.tar.gz",
        "hf://org/repo",
    ],
)
def test_no_other_model_is_taken_for_one(reference: str) -> None:
    assert found(reference, "config.json", "model.safetensors") is None
