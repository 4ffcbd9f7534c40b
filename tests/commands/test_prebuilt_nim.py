"""A NIM profile's engine: pulled by its manifest, then matched by the tags that this has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Run, steps, words
from foreign_engines import TOKENIZER, engine_files
from ngc import Ngc
from trtllm_model import add_model

from nimctl.core.layout import Layout

MODEL = "acme/team/tiny_llama"
PROFILE = "3a" * 32
_NIM = f"""\
nim:
  image: nvcr.io/{MODEL.replace("_", ".")}:1.8.6
  source: https://example.com/nim
  ports: {{http: 8000}}
"""


@pytest.fixture
def ngc(tmp_path: Path, environ: dict[str, str]) -> Iterator[Ngc]:
    with Ngc(tmp_path, encrypted_blobs=True) as standin:
        model = standin.add(MODEL, is_public=True)
        model.add("hf-1234567", {**TOKENIZER, "model.safetensors": b"not taken"})
        model.add("h100x1-bf16", engine_files())
        model.add("h100x1-own", engine_files(version="0.17.1.dev2025"))
        environ |= {
            "NGC_CLI_API_URL": standin.url,
            "NGC_CLI_AUTH_URL": standin.url,
            "SSL_CERT_FILE": standin.ca_file,
            "LOCAL_NIM_CACHE": str(tmp_path / "cache"),
        }
        yield standin


@pytest.fixture
def model(environ: dict[str, str], tmp_path: Path) -> str:
    """A model of the catalogue that has this NIM."""
    name = add_model(environ, tmp_path)
    file = Path(environ["HOME"]) / ".config" / "nimctl" / "profiles" / f"{name}.yaml"
    file.write_text(file.read_text() + _NIM)
    return name


def pull(run: Run, directory: Path, *argv: str, version: str = "h100x1-bf16", **tags: str) -> None:
    """Pull the profile of a manifest with these tags besides the usual ones."""
    usual = {
        "llm_engine": "tensorrt_llm",
        "gpu": "H100",
        "gpu_device": "2330:10de",
        "tp": "1",
        "pp": "1",
        "precision": "bf16",
        "profile": "throughput",
    }
    places = {f"trtllm_engine/{name}": (version, name) for name in engine_files()}
    places |= {name: ("hf-1234567", name) for name in TOKENIZER}
    files = {
        path: {"uri": f"ngc://{MODEL}:{version_}?file={name}"}
        for path, (version_, name) in places.items()
    }
    document: dict[str, Any] = {
        "schema_version": "2.0",
        "profiles": [{"id": PROFILE, "tags": {**usual, **tags}, "workspace": {"files": files}}],
    }
    manifest = directory / "manifest.yaml"
    manifest.write_text(yaml.safe_dump(document))
    done = run("pull", "--manifest", manifest, "--profile", PROFILE, *argv)
    assert done.code == 0, done


@pytest.mark.usefixtures("h100")
def test_a_model_takes_the_engine_of_its_nim(
    run: Run, ngc: Ngc, model: str, tmp_path: Path, layout: Layout
) -> None:
    pull(run, tmp_path)
    ngc.seen.clear()
    result = run("build-engine", model, "--offline", "--json")
    assert result.code == 0, result
    engine = result.json["engine"]
    assert (engine["recipe"]["gpu"], engine["recipe"]["compute_capability"]) == ("h100_sxm", "9.0")
    assert result.json["built"] is False
    rank = next(file for file in engine["files"] if file["path"] == "rank0.engine")
    assert (layout.engine(engine["key"]) / "rank0.engine").samefile(layout.blob(rank["sha256"]))
    assert ngc.seen == []


def test_it_is_served_with_the_tokenizer_beside_it(
    run: Run, ngc: Ngc, model: str, tmp_path: Path
) -> None:
    pull(run, tmp_path)
    ngc.seen.clear()
    plan = run(
        "serve", model, "--port", "auto", "--gpu", "h100_sxm", "--offline", "--dry-run", "--json"
    )
    # The image of the release, which is not here either.
    assert plan.code == 3, plan
    words(plan, "the image nvcr.io/nvidia/tensorrt-llm/release:1.2.1 is not here")
    plan = run("serve", model, "--port", "auto", "--gpu", "h100_sxm", "--dry-run", "--json")
    assert plan.code == 0, plan
    assert steps(plan.json)[1:5] == ["Fetch", "Assemble", "Adopt", "Attach"]
    assembled = plan.json["steps"][2]
    assert set(assembled["links"]) == set(TOKENIZER)
    assert plan.json["notes"][0].startswith(
        "profile tensorrt_llm-h100_sxm-bf16-tp1-pp1: strategy prebuilt: ngc://acme/team/tiny_llama:"
    )
    assert ngc.seen == []


def test_an_engine_for_another_gpu_is_not_taken(
    run: Run, ngc: Ngc, model: str, tmp_path: Path
) -> None:
    pull(run, tmp_path)
    plan = run("build-engine", model, "--gpu", "l40s", "--precision", "bf16", "--dry-run")
    assert plan.code == 0, plan
    assert "strategy tensorrt:" in plan.out
    forced = run("build-engine", model, "--gpu", "l40s", "--strategy", "prebuilt", "--dry-run")
    assert forced.code == 7, forced
    words(forced, "its compute capability is 9.0, needed is 8.9", f"nimctl build-engine {model}")
    assert ngc.requests_to("blob")


def test_a_build_of_the_nims_own_is_left_to_its_container(
    run: Run, ngc: Ngc, model: str, tmp_path: Path
) -> None:
    pull(run, tmp_path, version="h100x1-own")
    plan = run("build-engine", model, "--gpu", "h100_sxm", "--precision", "bf16", "--dry-run")
    assert "strategy tensorrt:" in plan.out
    assert ngc.requests_to("blob")


def test_tags_that_contradict_the_engine_are_refused(run: Run, ngc: Ngc, tmp_path: Path) -> None:
    pull(run, tmp_path, precision="fp8")
    reference = f"ngc://{MODEL}:h100x1-bf16?file=config.json&file=rank0.engine"
    result = run("build-engine", reference, "--gpu", "h100_sxm", "--dry-run")
    assert result.code == 6, result
    words(result, "contradicts its tags", "precision is bf16 in its config.json, fp8 in the")
    assert ngc.requests_to("blob")


def test_a_version_of_ngc_says_no_gpu_by_itself(run: Run, ngc: Ngc) -> None:
    result = run("build-engine", f"ngc://{MODEL}:h100x1-bf16", "--gpu", "h100_sxm", "--dry-run")
    assert result.code == 2, result
    words(result, "does not say for which GPU it was built")
    assert not any("rank0" in one.path for one in ngc.requests_to("blob"))


@pytest.mark.parametrize(
    ("version", "stated"),
    [("fast", "H100"), ("h100x1-throughput-precision.bf16-udrspesh5q", None)],
    ids=["publisher", "name"],
)
def test_a_version_of_ngc_is_for_the_gpu_that_ngc_shows(
    run: Run, ngc: Ngc, version: str, stated: str | None
) -> None:
    ngc.models["acme", "team", "tiny_llama"].add(version, engine_files(), gpu_model=stated)
    reference = f"ngc://{MODEL}:{version}"
    (shown,) = run("versions", reference, "--json").json["versions"]
    assert shown["version"]["gpu"] == "H100"
    plan = run("build-engine", reference, "--gpu", "h100_sxm", "--dry-run")
    assert plan.code == 0, plan
    assert "has an engine for h100_sxm, bf16 tp1" in plan.out
    refused = run("build-engine", reference, "--gpu", "l40s", "--dry-run")
    assert refused.code == 7, refused
    words(refused, "its compute capability is 9.0, needed is 8.9")
    other = run("build-engine", reference, "--gpu", "l40s", "--built-for", "l40s", "--dry-run")
    words(other, "was built for h100_sxm, not for l40s")
    assert not any("rank0" in one.path for one in ngc.requests_to("blob"))


@pytest.mark.usefixtures("h100")
def test_pulling_it_again_keeps_what_the_manifest_said(
    run: Run, ngc: Ngc, model: str, tmp_path: Path
) -> None:
    pull(run, tmp_path)
    reference = f"ngc://{MODEL}:h100x1-bf16?file=config.json&file=rank0.engine"
    assert run("pull", reference).code == 0
    assert run("build-engine", model, "--offline").code == 0
    assert ngc.requests_to("api")
