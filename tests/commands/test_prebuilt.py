"""Engines that were built elsewhere, named as models: judged, adopted, served, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Result, Run, steps, words
from foreign_engines import RANK, TOKENIZER, engine_files, sidecar_of, write
from hub import Hub
from oras_client import oras_push
from registry_daemon import RegistryDaemon
from trtllm_model import add_model

from nimctl.core.layout import Layout
from nimctl.store.artifacts import ArtifactStore

DRY = ("--dry-run", "--json")
ON_H100 = ("--gpu", "h100_sxm", *DRY)


@pytest.fixture
def plain(tmp_path: Path) -> str:
    """An engine that says nothing of its GPU."""
    return write(tmp_path / "plain", {**engine_files(), **TOKENIZER})


@pytest.fixture
def described(tmp_path: Path) -> str:
    """An engine of nimctl's, with its sidecar, and the tokenizer beside it."""
    files = engine_files()
    return write(
        tmp_path / "described",
        {**files, "engine.json": sidecar_of(files, "hf://acme/tiny"), **TOKENIZER},
    )


def adopted(layout: Layout, result: Result) -> dict[str, Any]:
    """The engine that a build has given, whose files are those that were pulled."""
    assert result.code == 0, result
    engine: dict[str, Any] = result.json["engine"]
    assert result.json["built"] is False
    for file in engine["files"]:
        blob, own = layout.blob(file["sha256"]), layout.engine(engine["key"]) / file["path"]
        assert own.samefile(blob), f"{own} is a second copy"
    return engine


@pytest.mark.usefixtures("h100")
def test_an_engine_with_its_sidecar_is_adopted(run: Run, described: str, layout: Layout) -> None:
    result = run("build-engine", described, "--json")
    engine = adopted(layout, result)
    assert "strategy prebuilt: " in result.err
    assert "an engine for h100_sxm, bf16 tp1, built by tensorrt_llm 1.2.1" in result.err
    assert engine["reference"] == "hf://acme/tiny"
    assert {file["path"] for file in engine["files"]} == {"config.json", "rank0.engine"}
    (listed,) = run("engines", "--json").json["engines"]
    assert listed["engine"] == engine
    again = run("build-engine", described, "--json")
    assert f"strategy prebuilt: the engine {engine['key'][:12]} is in the store" in again.err
    assert again.json["engine"] == engine


def test_a_plan_fetches_and_takes_over(run: Run, described: str) -> None:
    plan = run("build-engine", described, *ON_H100)
    assert plan.code == 0, plan
    assert steps(plan.json) == ["Fetch", "Adopt"]
    adopt = plan.json["steps"][1]
    assert adopt["sidecar"]["key"] == adopt["key"]
    assert adopt["files"] == {"config.json": "config.json", "rank0.engine": "rank0.engine"}


def test_it_is_not_for_another_gpu(run: Run, described: str) -> None:
    result = run("build-engine", described, "--gpu", "l40s", "--dry-run")
    assert result.code == 7, result
    words(
        result,
        f"the engine in {described} is not for this: its compute capability is 9.0, needed is 8.9",
        "it was built by tensorrt_llm 1.2.1; it differs in 2 fields, this one decides",
        "hint: nimctl build-engine hf://acme/tiny --precision bf16",
    )


def test_nor_for_another_part_of_the_same_capability(run: Run, described: str) -> None:
    result = run("build-engine", described, "--gpu", "h100_pcie", "--dry-run")
    assert result.code == 7, result
    words(result, "its GPU is h100_sxm, needed is h100_pcie")


def test_without_a_gpu_it_is_said_what_is_missing(run: Run, described: str) -> None:
    result = run("build-engine", described, env={"DOCKER_HOST": "unix:///nowhere.sock"})
    assert result.code == 7, result
    words(result, "does not run on this machine")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("--strategy", "tensorrt"), 2, ["cannot give an engine", "the files are an engine"]),
        (("--strategy", "pytorch"), 2, ["cannot give an engine", "the files are an engine"]),
        (("--set", "gemm_plugin=auto"), 2, ["--set is for engines that are built here"]),
        (("--built-for", "l40s"), 2, ["was built for h100_sxm, not for l40s"]),
        (("--built-for", "no_such"), 2, ["nimctl knows no GPU 'no_such'"]),
        (("--max-seq-len", "4096"), 7, ["its max_seq_len is 512, needed is 4096"]),
        (("--tp", "2"), 7, ["its tensor parallelism is 1, needed is 2"]),
        (
            ("--image", "nvcr.io/nvidia/tensorrt-llm/release:1.1.0"),
            7,
            [
                "its TensorRT version is 10.14.1, needed is 10.13.3",
                "leave --image out, or --image nvcr.io/nvidia/tensorrt-llm/release:1.2.1",
            ],
        ),
        (("--precision", "fp8"), 2, ["no profile has precision fp8", "there is bf16"]),
    ],
)
def test_what_an_engine_cannot_be(
    run: Run, described: str, argv: tuple[str, ...], code: int, said: list[str]
) -> None:
    result = run("build-engine", described, "--gpu", "h100_sxm", "--dry-run", *argv)
    assert result.code == code, result
    words(result, *said)


def test_built_for_is_for_engines_from_elsewhere(
    run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    model = add_model(environ, tmp_path)
    result = run("build-engine", model, "--gpu", "h100_sxm", "--dry-run", "--built-for", "h100_sxm")
    assert result.code == 2, result
    words(result, "--built-for is for engines that were built elsewhere")


@pytest.mark.usefixtures("h100")
def test_a_gpu_that_nothing_states_is_not_guessed(run: Run, plain: str) -> None:
    for command in (("build-engine",), ("serve", "--port", "auto")):
        result = run(*command, plain, "--gpu", "h100_sxm", "--dry-run")
        assert result.code == 2, result
        words(
            result,
            f"the engine in {plain} does not say for which GPU it was built",
            "TensorRT-LLM's config.json names no GPU",
            f"nimctl build-engine '{plain}' --built-for h100_sxm",
        )


@pytest.mark.usefixtures("h100")
def test_a_gpu_that_the_user_states_is_remembered(run: Run, plain: str, layout: Layout) -> None:
    engine = adopted(layout, run("build-engine", plain, "--built-for", "h100_sxm", "--json"))
    recipe = engine["recipe"]
    assert (recipe["gpu"], recipe["compute_capability"]) == ("h100_sxm", "9.0")
    assert recipe["limits"] == {
        "max_batch_size": 8,
        "max_num_tokens": 1024,
        "max_seq_len": 512,
        "max_beam_width": 1,
    }
    assert recipe["tensorrt_version"] == "10.14.1"
    again = run("build-engine", plain, "--json")
    assert again.json["engine"] == engine
    assert "is in the store" in again.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rank1.engine": None}, "rank1.engine is missing"),
        ({"config.json": b"{}"}, "no version and no pretrained_config"),
        ({"config.json": b"["}, "is no valid JSON"),
        ({"engine.json": b"{}"}, "the engine.json of file://"),
    ],
)
def test_an_engine_that_is_not_whole_is_refused(
    run: Run, tmp_path: Path, change: dict[str, bytes | None], said: str
) -> None:
    files: dict[str, bytes | None] = {**engine_files(tp=2), **change}
    there = {path: data for path, data in files.items() if data is not None}
    result = run("build-engine", write(tmp_path / "e", there), "--gpu", "h100_sxm:2", "--dry-run")
    assert result.code == 6, result
    words(result, said)


def test_a_sidecar_that_was_altered_is_refused(run: Run, tmp_path: Path) -> None:
    files = engine_files()
    document = json.loads(sidecar_of(files, "hf://acme/tiny"))
    document["recipe"]["gpu"] = "l40s"
    files["engine.json"] = json.dumps(document).encode()
    result = run("build-engine", write(tmp_path / "e", files), "--gpu", "l40s", "--dry-run")
    assert result.code == 6, result
    words(result, "was altered")


def test_an_engine_without_a_sidecar_is_no_import(run: Run, plain: str) -> None:
    result = run("engines", "import", plain)
    assert result.code == 6, result
    words(result, "is no engine of nimctl's", f"nimctl build-engine '{plain}'")


@pytest.mark.usefixtures("h100")
def test_what_nothing_tells_is_not_claimed_of_a_profile(run: Run, plain: str) -> None:
    name = "tensorrt_llm-bf16-tp1-pp1"
    explained = run("list-profiles", plain, "--gpu", "h100_sxm", "--explain", name)
    assert "made for a GPU that nothing tells" in explained.out
    untold = "nothing tells for which GPU it was built: build-engine --built-for GPU, once"
    assert untold in run("list-profiles", plain, "--gpu", "h100_sxm").out
    run("build-engine", plain, "--built-for", "h100_sxm")
    listed = run("list-profiles", plain, "--gpu", "h100_sxm").out
    assert untold not in listed
    assert "tensorrt_llm-h100_sxm-bf16-tp1-pp1" in listed


@pytest.mark.usefixtures("h100")
def test_files_that_are_not_the_sidecars_are_not_adopted(
    run: Run, tmp_path: Path, layout: Layout
) -> None:
    files = engine_files()
    files |= {"engine.json": sidecar_of(files, "hf://acme/tiny"), "rank0.engine": b"something else"}
    result = run("build-engine", write(tmp_path / "e", files))
    assert result.code == 6, result
    words(result, "rank0.engine", "is damaged")
    assert [path.name for path in (layout.root / "engines").glob("*")] == []


def test_several_engines_have_to_be_told_apart(run: Run, tmp_path: Path) -> None:
    one = {f"tp1/{path}": data for path, data in engine_files().items()}
    two = {f"tp2/{path}": data for path, data in engine_files(tp=2).items()}
    result = run("build-engine", write(tmp_path / "e", {**one, **two}))
    assert result.code == 2, result
    words(result, "has 2 engines", "tp1, tp2")


def test_a_server_gets_the_image_of_the_engines_release(run: Run, tmp_path: Path) -> None:
    files = engine_files(version="1.1.0")
    recipe = {"builder": "tensorrt_llm 1.1.0", "tensorrt_version": "10.13.3"}
    beside = {"engine.json": sidecar_of(files, "hf://acme/tiny", **recipe), **TOKENIZER}
    plan = run("serve", write(tmp_path / "e", {**files, **beside}), "--port", "auto", *ON_H100)
    assert plan.code == 0, plan
    assert steps(plan.json) == [
        *("PullImage", "Fetch", "Assemble", "Adopt", "Attach", "LaunchContainer", "Await"),
    ]
    assert plan.json["steps"][0]["image"] == "nvcr.io/nvidia/tensorrt-llm/release:1.1.0"
    container = plan.json["steps"][5]["container"]
    assert container["command"][1:5] == [
        *("--backend", "tensorrt", "--tokenizer", container["mounts"][0]["target"])
    ]


def test_an_engine_of_no_release_has_no_image(run: Run, tmp_path: Path) -> None:
    files = engine_files(version="0.17.1.dev2025")
    recipe: dict[str, Any] = {"builder": "tensorrt_llm 0.17.1.dev2025", "tensorrt_version": None}
    beside = {"engine.json": sidecar_of(files, "hf://acme/tiny", **recipe), **TOKENIZER}
    engine = write(tmp_path / "e", {**files, **beside})
    result = run("serve", engine, "--port", "auto", "--gpu", "h100_sxm", "--dry-run")
    assert result.code == 2, result
    words(result, "no image is known that serves the engine", "which is no release")
    own = run(
        "serve",
        engine,
        "--port",
        "auto",
        "--image",
        "registry.local/trtllm:0.17.1.dev2025",
        *ON_H100,
    )
    assert own.code == 0, own


@pytest.mark.usefixtures("h100")
def test_an_engine_without_a_tokenizer_cannot_be_served(run: Run, tmp_path: Path) -> None:
    engine = write(tmp_path / "e", engine_files())
    assert run("build-engine", engine, "--built-for", "h100_sxm").code == 0
    result = run("serve", engine, "--port", "auto", "--gpu", "h100_sxm", "--dry-run")
    assert result.code == 3, result
    words(result, "has no tokenizer", "put tokenizer.json")


def test_the_tokenizer_of_a_directory_elsewhere_is_said_to_be_missing(
    run: Run, tmp_path: Path
) -> None:
    files = engine_files()
    files["engine.json"] = sidecar_of(files, "file:///data/of/another/machine")
    result = run("serve", write(tmp_path / "e", files), "-p", "auto", *ON_H100)
    assert result.code == 3, result
    words(result, "has no tokenizer", "names file:///data/of/another/machine, which is not to be")
    words(result, "put tokenizer.json and tokenizer_config.json beside it")


def test_the_script_lays_the_engine_out(run: Run, described: str, tmp_path: Path) -> None:
    script = run("serve", described, "--port", "auto", "--gpu", "h100_sxm", "--dry-run").out
    lines = [line for line in script.splitlines() if line.startswith(("test -e", "# take"))]
    assert lines[0] == f"# take over the engine in {described}: its 2 files as they are"
    store = f"{tmp_path}/home/nimctl/model-store/described-"
    assert [
        line.split()[2].removeprefix(store).partition("/trtllm_engine/")[2] for line in lines[1:]
    ] == [*("config.json", "rank0.engine")]


def test_a_model_is_matched_with_an_engine_that_was_pulled(
    run: Run, h100: dict[str, str], registry: RegistryDaemon, tmp_path: Path, layout: Layout
) -> None:
    model = add_model(h100, tmp_path)
    assert run("pull", model).code == 0
    (checkpoint,) = ArtifactStore(layout).all()
    pinned, digest = checkpoint.reference, checkpoint.digest
    files = engine_files()
    sidecar = sidecar_of(files, pinned, model=str(digest))
    source = write(tmp_path / "e", {**files, "engine.json": sidecar})
    target = f"oci://{registry.host}/engines/tiny:h100"
    assert run("pull", source).code == 0
    assert run("push", source, target).code == 0
    assert run("rm", source).code == 0
    assert run("pull", target).code == 0
    (listed,) = [
        one for one in run("list-profiles", model, "--json").json["profiles"]
        if one["name"] == "tensorrt_llm-bf16-tp1-pp1"
    ]  # fmt: skip
    assert listed["engine"] == "cached"
    plan = run("build-engine", model, "--strategy", "prebuilt", "--offline", *DRY)
    assert plan.code == 0, plan
    assert "Adopt" in steps(plan.json)
    result = run("build-engine", model, "--strategy", "prebuilt", "--offline", "--json")
    engine = adopted(layout, result)
    assert engine["model_digest"] == digest


@pytest.mark.usefixtures("h100")
def test_what_oras_pushed_is_adopted(
    run: Run, registry: RegistryDaemon, oras: str, tmp_path: Path, layout: Layout
) -> None:
    files = engine_files()
    files["engine.json"] = sidecar_of(files, "hf://acme/tiny")
    write(tmp_path / "e", files)
    paths = [str(tmp_path / "e" / name) for name in files]
    oras_push(oras, registry, "engines/tiny:h100", paths, "", "")
    engine = adopted(
        layout, run("build-engine", f"oci://{registry.host}/engines/tiny:h100", "--json")
    )
    assert engine["recipe"]["gpu"] == "h100_sxm"


@pytest.mark.usefixtures("h100")
def test_what_engines_export_pushed_is_adopted_elsewhere(
    run: Run, registry: RegistryDaemon, described: str, tmp_path: Path
) -> None:
    key = run("build-engine", described, "--json").json["engine"]["key"]
    target = f"oci://{registry.host}/engines/exported:1"
    assert run("engines", "export", key[:12], target).code == 0
    other = {"NIMCTL_HOME": str(tmp_path / "other")}
    engine = adopted(
        Layout(home=other["NIMCTL_HOME"]), run("build-engine", target, "--json", env=other)
    )
    assert engine["key"] == key


def test_the_tokenizer_of_the_model_is_fetched_without_its_weights(
    run: Run, environ: dict[str, str], registry: RegistryDaemon, tmp_path: Path
) -> None:
    with Hub() as hub:
        hub.add("acme/tiny", {**TOKENIZER, "config.json": b"{}", "model.safetensors": RANK})
        environ["HF_ENDPOINT"] = hub.endpoint
        files = engine_files()
        sidecar = sidecar_of(files, "hf://acme/tiny")
        engine = write(tmp_path / "e", {**files, "engine.json": sidecar})
        target = f"oci://{registry.host}/engines/tiny:h100"
        assert run("pull", engine).code == 0
        assert run("push", engine, target).code == 0
        plan = run("serve", target, "--port", "auto", *ON_H100)
    assert plan.code == 0, plan
    fetches = [step for step in plan.json["steps"] if step["type"] == "Fetch"]
    assert [step["reference"].partition("?")[0] for step in fetches] == [target, "hf://acme/tiny"]
    assert {file["path"] for file in fetches[1]["artifact"]["files"]} == {*TOKENIZER, "config.json"}


@pytest.mark.usefixtures("h100")
def test_an_engine_of_the_hub_is_matched_before_it_is_fetched(
    run: Run, environ: dict[str, str], layout: Layout
) -> None:
    files = engine_files(quantised="FP8")
    sidecar = sidecar_of(files, "hf://acme/tiny", precision="fp8", kv_cache="fp8")
    with Hub() as hub:
        hub.add("acme/tiny-h100", {**files, "engine.json": sidecar})
        environ["HF_ENDPOINT"] = hub.endpoint
        refused = run("build-engine", "hf://acme/tiny-h100", "--gpu", "a100_sxm_80gb", "--dry-run")
        assert refused.code == 7, refused
        assert hub.requests_to("cdn") == []
        engine = adopted(layout, run("build-engine", "hf://acme/tiny-h100", "--json"))
        hub.seen.clear()
        again = run("build-engine", "hf://acme/tiny-h100", "--offline", "--json")
        assert again.json["engine"] == engine
        assert hub.seen == []


def test_a_catalogue_file_may_name_an_engine(
    run: Run, h100: dict[str, str], tmp_path: Path, plain: str, layout: Layout
) -> None:
    model = add_model(h100, tmp_path)
    file = Path(h100["HOME"]) / ".config" / "nimctl" / "profiles" / f"{model}.yaml"
    entry = "{{backend: tensorrt_llm, precision: {}, gpu: h100_sxm, source: '{}'}}"
    text = file.read_text()
    file.write_text(f"{text}  - {entry.format('bf16', plain)}\n")
    assert run("profiles", "validate", file).code == 0
    # The catalogue states the GPU, which the files do not.
    result = run("build-engine", model, "--json")
    engine = adopted(layout, result)
    assert engine["recipe"]["gpu"] == "h100_sxm"
    other = run("build-engine", model, "--gpu", "l40s", "--strategy", "prebuilt", "--dry-run")
    assert other.code == 7, other
    words(other, "its compute capability is 9.0, needed is 8.9", f"nimctl build-engine {model}")
    file.write_text(f"{text}  - {entry.format('fp8', plain)}\n")
    wrong = run("build-engine", model, "--gpu", "h100_sxm", "--dry-run", "--strategy", "prebuilt")
    assert wrong.code == 6, wrong
    words(wrong, "is not what the catalogue says", "precision bf16 there, fp8 in the profile")
