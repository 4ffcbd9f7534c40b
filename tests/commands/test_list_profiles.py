"""`nimctl list-profiles`: what runs here, and why."""

from collections.abc import Callable
from pathlib import Path

import jsonschema
import msgspec
import pytest
from conftest import Result, Run, words

from nimctl.core.profile_reports import CatalogueList, ExplainedProfile, ProfileList

HUB = "hf://meta-llama/Llama-3.1-8B-Instruct@main"
MODEL = f"""
schema_version: 1
name: big
title: An 8B model
architecture:
  parameters: 8030261248
  layers: 32
  hidden_size: 4096
  intermediate_size: 14336
  vocabulary: 128256
  heads: 32
  kv_heads: 8
  head_dim: 128
  context_length: 131072
variants:
  - {{backend: tensorrt_llm, precisions: [fp8, bf16], source: "{HUB}", build: true}}
  - {{backend: vllm, precisions: [bf16], source: "{HUB}", lora: true}}
profiles:
  - {{backend: llama_cpp, precision: q8_0, source: "hf://org/big-GGUF?include=*-Q8_0.gguf"}}
"""
Big = Callable[..., Result]


@pytest.fixture
def big(run: Run, environ: dict[str, str]) -> Big:
    """`list-profiles big`, an 8B model in the user's own catalogue."""
    directory = Path(environ["HOME"]) / ".config" / "nimctl" / "profiles"
    directory.mkdir(parents=True)
    (directory / "big.yaml").write_text(MODEL)

    def call(*argv: str, env: dict[str, str] | None = None) -> Result:
        return run("list-profiles", "big", *argv, env=env)

    return call


def chosen(result: Result) -> str:
    report = result.json
    (name,) = [one["name"] for one in report["profiles"] if one["id"] == report["selected"]]
    return str(name)


def test_the_whole_catalogue_is_listed_with_reasons(run: Run) -> None:
    report = run("list-profiles", "--json").json
    jsonschema.validate(report, msgspec.json.schema(CatalogueList))
    names = [model["model"] for model in report["models"]]
    assert names == sorted(names)
    assert {"capitals-demo", "llama-3.1-8b-instruct"} <= set(names)
    assert report["host"]["cpu"]["cores"] >= 1
    assert report["host"]["memory_total_bytes"] >= report["host"]["memory_available_bytes"]


@pytest.mark.parametrize("gpu", ["h100_sxm:8", "l40s:2", "b200:8", "t4"])
def test_the_catalogue_fits_eighty_columns(run: Run, gpu: str) -> None:
    assert max(map(len, run("list-profiles", "--gpu", gpu).out.splitlines())) <= 80


def test_the_catalogue_has_one_line_a_model_under_its_family(run: Run, big: Big) -> None:
    del big
    lines = run("list-profiles", "--gpu", "h100_sxm:8").out.splitlines()
    assert lines[0] == "8 H100 80GB HBM3, 79.6 GiB free each"
    header = next(line for line in lines if line.startswith("LLM"))
    assert header.split() == ["LLM", "BEST", "HERE", "FIT", "GiB"]
    (line,) = [line for line in lines if line.startswith("big ")]
    assert line.split() == ["big", "tensorrt_llm", "bf16", "buildable", "19.0"]


def test_what_no_source_confirms_has_a_mark(run: Run) -> None:
    """A whole model, a NIM's container."""
    lines = run("list-profiles", "--gpu", "h100_sxm").out.splitlines()
    marked = {line.split()[0] for line in lines if " ? " in line}
    assert {"llama-2-7b", "esmfold"} <= marked
    assert "llama-3.1-8b-instruct" not in marked
    assert lines[-1] == "? not confirmed by any source"


def test_a_model_has_the_document_that_is_documented(run: Run) -> None:
    report = run("list-profiles", "capitals-demo", "--json").json
    jsonschema.validate(report, msgspec.json.schema(ProfileList))
    assert report["model"] == "capitals-demo"
    profiles = report["profiles"]
    assert report["selected"] == profiles[0]["id"]
    assert report["why"] == "precision: q8_0 before f16"
    assert [one["fit"] for one in profiles] == ["buildable", "buildable"]
    assert [one["engine"] for one in profiles] == ["to build", "to build"]
    assert profiles[0]["tags"] == {
        "backend": "llama_cpp",
        "precision": "q8_0",
        "tp": "1",
        "pp": "1",
    }


def test_what_was_built_is_compatible_and_comes_first(run: Run) -> None:
    run("build-engine", "capitals-demo", "--precision", "f16")
    report = run("list-profiles", "capitals-demo", "--json").json
    assert [(one["tags"]["precision"], one["fit"]) for one in report["profiles"]] == [
        ("f16", "compatible"),
        ("q8_0", "buildable"),
    ]
    assert report["profiles"][0]["engine"] == "cached"
    # What is pinned has a known size; model.safetensors alone has 1.4 M parameters in 16 bits.
    assert report["profiles"][0]["download_bytes"] > 2_800_000
    assert report["why"] == "store: in the store before not in it"


def test_the_table_marks_the_profile_that_serve_takes_and_why(run: Run) -> None:
    lines = run("list-profiles", "capitals-demo").out.splitlines()
    assert lines[0] == "capitals-demo"
    assert lines[4].split() == [
        *("ID", "FIT", "MEMORY"),
        *("KV", "TOKENS", "SEQS", "ENGINE", "DOWNLOAD"),
    ]
    assert lines[5] == "* llama_cpp-q8_0-tp1-pp1"
    assert "42b55312  buildable" in lines[6]
    assert lines[7].strip() == "chosen: precision: q8_0 before f16"
    assert lines[8].strip() == "the engine is built on first use"
    assert lines[9] == "  llama_cpp-f16-tp1-pp1"


@pytest.mark.parametrize("gpus", [["h100_sxm:8"], ["a100_sxm_80gb"], ["rtx_4090", "t4"], ["l4:2"]])
def test_the_table_fits_eighty_columns(big: Big, gpus: list[str]) -> None:
    planned = [word for gpu in gpus for word in ("--gpu", gpu)]
    for more in ([], ["--all"], ["--explain", "vllm-bf16-tp4-pp1"]):
        lines = big(*planned, *more).out.splitlines()
        assert max(map(len, lines)) <= 80


def test_before_a_pull_the_download_is_an_estimate_and_said_to_be_one(big: Big, run: Run) -> None:
    result = big("--gpu", "h100_sxm", "--json")
    sizes = {
        one["tags"]["backend"]: (one["download_bytes"], one["estimated_download_bytes"])
        for one in result.json["profiles"]
    }
    # Engines are built from the 16 bits that vLLM serves.
    whole, quantised = 2 * 8030261248, round(8030261248 * 34 / 32)
    assert sizes == {
        "tensorrt_llm": (None, whole),
        "vllm": (None, whole),
        "llama_cpp": (None, quantised),
    }
    out = big("--gpu", "h100_sxm").out
    assert [line for line in out.splitlines() if line.endswith("prebuilt  ~7.9 GiB")]
    assert [line for line in out.splitlines() if line.endswith("to build  ~15 GiB")]
    assert "\n~ an estimate" in out
    explained = big("--gpu", "h100_sxm", "--explain", "vllm-bf16-tp1-pp1").out
    assert "~15 GiB, an estimate from parameters and precision\n" in explained
    # What is pinned is known, and needs none.
    run("pull", "capitals-demo")
    known = run("list-profiles", "capitals-demo", "--json").json["profiles"]
    assert [one["estimated_download_bytes"] for one in known] == [None, None]
    assert "~" not in run("list-profiles", "capitals-demo").out


def test_what_does_not_run_here_is_counted_and_shown_with_all(big: Big) -> None:
    few = big("--gpu", "h100_sxm").out
    assert "tensorrt_llm-l40s" not in few
    assert "vllm-bf16-tp4-pp1" not in few
    assert " more do not run here; --all shows them, with reasons" in few
    everything = big("--gpu", "h100_sxm", "--all").out
    assert "made for l40s, this host has 1 H100 80GB HBM3" in everything
    assert "needs 4 identical GPUs, this host has 1 H100 80GB HBM3" in everything
    short, full = (big("--gpu", "h100_sxm", "--json", *more).json for more in ([], ["--all"]))
    assert len(short["profiles"]) + short["others"] == len(full["profiles"])


def test_where_nothing_runs_the_reasons_are_shown_at_once(
    run: Run, big: Big, environ: dict[str, str]
) -> None:
    del big
    only = MODEL.partition("profiles:")[0].replace("name: big", "name: gpu-only")
    path = Path(environ["HOME"]) / ".config" / "nimctl" / "profiles" / "gpu-only.yaml"
    path.write_text(only)
    out = run("list-profiles", "gpu-only", "--gpu", "t4").out
    assert "bf16 needs compute capability 8.0, Tesla T4 has 7.5" in out
    assert "*" not in out


def test_nothing_is_selected_where_what_was_asked_for_does_not_run(big: Big) -> None:
    report = big("--gpu", "t4", "--backend", "vllm", "--json").json
    assert (report["selected"], report["why"]) == (None, None)


def test_a_context_that_is_too_long_names_the_one_that_fits(big: Big) -> None:
    asked = ["--gpu", "rtx_4090,used=6GiB", "--precision", "bf16", "--json"]
    report = big(*asked, "--max-model-len", "32768").json
    assert report["selected"] is None
    (reason,) = {one["reasons"][0] for one in report["profiles"] if one["fit"] == "low-memory"}
    assert reason.startswith("short of 3.1 GiB: --max-model-len 9728 would fit")
    assert chosen(big(*asked, "--max-model-len", "9728")).startswith("tensorrt_llm-rtx_4090-bf16")


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        ([], "tensorrt_llm-h100_sxm-bf16-tp1-pp1-throughput"),
        (["--target", "latency"], "tensorrt_llm-h100_sxm-bf16-tp2-pp1-latency"),
        (["--precision", "bf16"], "tensorrt_llm-h100_sxm-bf16-tp1-pp1-throughput"),
        (["--backend", "vllm"], "vllm-bf16-tp1-pp1"),
        (["--tags", "tp=2,backend=vllm"], "vllm-bf16-tp2-pp1"),
        (["--profile", "vllm-bf16-tp2-pp1"], "vllm-bf16-tp2-pp1"),
        (["--lora", "--backend", "vllm"], "vllm-bf16-tp1-pp1"),
    ],
)
def test_the_choice_can_be_narrowed(big: Big, asked: list[str], taken: str) -> None:
    assert chosen(big("--gpu", "h100_sxm:2", "--json", *asked)) == taken


def test_nims_own_variables_narrow_it_as_well(run: Run, big: Big) -> None:
    plan = ["--gpu", "h100_sxm:2", "--json"]
    plain = big(*plan).json
    two = next(one for one in plain["profiles"] if one["name"] == "vllm-bf16-tp2-pp1")
    for said in (two["id"], two["id"][:12], two["name"], f"{two['id']} ({two['name']})"):
        assert chosen(big(*plan, env={"NIM_MODEL_PROFILE": said})) == "vllm-bf16-tp2-pp1"
    assert chosen(big(*plan, env={"NIM_MODEL_PROFILE": "default"})) == chosen(big(*plan))
    assert chosen(big(*plan, env={"NIM_TAGS_SELECTOR": "backend=vllm"})) == "vllm-bf16-tp1-pp1"
    assert chosen(big(*plan, env={"NIM_PEFT_SOURCE": "/loras"})) == "vllm-bf16-tp1-pp1"
    # It belongs to one model: the others are listed all the same.
    assert run("list-profiles", env={"NIM_MODEL_PROFILE": two["id"]}).code == 0
    wrong = big(*plan, env={"NIM_MODEL_PROFILE": "vllm-fp64"})
    assert wrong.code == 3
    words(wrong, "there is no profile `vllm-fp64`, which NIM_MODEL_PROFILE names")
    # What is asked for on the command line goes before.
    said = {"NIM_MODEL_PROFILE": two["id"]}
    assert chosen(big(*plan, "--profile", "vllm-bf16-tp1-pp1", env=said)) == "vllm-bf16-tp1-pp1"


def test_explain_tells_everything_about_a_profile(big: Big) -> None:
    asked = ["--gpu", "h100_sxm:2", "--explain", "vllm-bf16-tp2-pp1"]
    report = big(*asked, "--json").json
    jsonschema.validate(report, msgspec.json.schema(ExplainedProfile))
    assert [check["passed"] for check in report["checks"]] == [True] * 5
    assert report["profile"]["gpus"] == [one["uuid"] for one in report["host"]["gpus"]]
    assert [lost["rule"] for lost in report["lost_to"]] == ["GPU", "tensor parallelism"]
    text = big(*asked).out
    for part in (
        "backend       vllm",
        "  passed      takes 2 of 2 H100 80GB HBM3",
        "weights          7.5 GiB",
        "65,536 bytes of KV cache a token",
        "after vllm-bf16-tp1-pp1",
        "by tensor parallelism: tp1 before tp2",
    ):
        assert part in text


def test_explain_tells_of_a_container_and_of_what_no_source_confirms(run: Run) -> None:
    asked = ["list-profiles", "flux.1-dev", "--gpu", "h100_sxm", "--explain", "nim"]
    report = run(*asked, "--json").json
    jsonschema.validate(report, msgspec.json.schema(ExplainedProfile))
    assert report["nim"]["api"] == [{"path": "/v1/infer", "unverified": True}]
    assert report["profile"]["evidence"].startswith("https://docs.nvidia.com/nim/visual-genai/")
    text = run(*asked).out
    for part in (
        "  image       nvcr.io/nim/black-forest-labs/flux.1-dev:",
        "  answers     /v1/infer  (no source confirms it)",
        "  selector    NIM_MODEL_VARIANT: base, canny, depth",
        "  shm         16 GiB",
    ):
        assert part in text


def test_explain_tells_of_a_profile_for_another_gpu_why_not(big: Big) -> None:
    asked = ["--gpu", "h100_sxm", "--explain", "tensorrt_llm-l40s-fp8-tp1-pp1-throughput"]
    assert "  FAILED      made for l40s, this host has 1 H100 80GB HBM3" in big(*asked).out
    result = big("--explain", "nothing")
    assert result.code == 3
    words(result, "there is no profile `nothing`", "list-profiles")


def test_a_model_outside_the_catalogue_is_judged_by_its_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m-Q4_K_M.gguf").write_bytes(b"GGUF")
    report = run("list-profiles", f"file://{tmp_path}/m-Q4_K_M.gguf", "--json").json
    assert [(one["tags"]["precision"], one["fit"]) for one in report["profiles"]] == [
        ("q4_k_m", "compatible")
    ]


def test_an_unknown_model_is_not_found(run: Run) -> None:
    result = run("list-profiles", "llama-3-8b")
    assert result.code == 3
    words(result, "llama-3.1-8b-instruct")


def test_what_needs_a_model_says_so(run: Run) -> None:
    for option in ("--explain", "--profile"):
        result = run("list-profiles", option, "x")
        assert result.code == 2
        words(result, f"{option} needs a model", "nimctl list-profiles MODEL")


def test_tags_that_are_none_are_refused(run: Run) -> None:
    result = run("list-profiles", "capitals-demo", "--tags", "tp:2")
    assert result.code == 2
    words(result, "`tp:2` is no list of tags", "tag=value,tag=value")
    twice = run("list-profiles", "capitals-demo", "--tags", "tp=1, tp=2")
    assert twice.code == 2
    words(twice, "has the tag tp twice")


def test_what_is_not_meant_is_not_listed(big: Big) -> None:
    report = big("--gpu", "h100_sxm", "--backend", "vllm", "--json").json
    assert {one["tags"]["backend"] for one in report["profiles"]} == {"vllm"}
    assert {one["lora"] for one in report["profiles"]} == {True, False}
    assert report["selected"]


def test_what_is_made_for_other_gpus_can_be_asked_for_by_name(big: Big) -> None:
    name = "tensorrt_llm-l40s-fp8-tp1-pp1-throughput"
    result = big("--gpu", "l4", "--profile", name)
    assert result.code == 0
    assert name in result.out
    assert "made for l40s, this host has 1 L4" in result.out
    report = big("--gpu", "t4", "--backend", "tensorrt_llm", "--json").json
    assert {one["fit"] for one in report["profiles"]} == {"incompatible"}
    assert report["selected"] is None
    few = big("--gpu", "t4", "--backend", "tensorrt_llm").out
    assert few.count("made for ") < len(report["profiles"])
    assert " more do not run here" in few


def test_weights_that_are_served_as_they_are_are_no_engine(big: Big) -> None:
    report = big("--gpu", "h100_sxm", "--json").json
    states = {one["name"]: one["engine"] for one in report["profiles"]}
    assert states["vllm-bf16-tp1-pp1"] == "none"
    assert states["llama_cpp-q8_0-tp1-pp1"] == "prebuilt"
    assert states["tensorrt_llm-h100_sxm-fp8-tp1-pp1-throughput"] == "to build"


def test_what_is_assumed_of_a_planned_machine_is_called_so(big: Big) -> None:
    lines = big("--gpu", "l4").out.splitlines()
    assert lines[2] == "beside them, as an assumption: 64 cores, 64.0 GiB of memory"
