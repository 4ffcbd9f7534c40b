"""`list-profiles --manifest`: what a NIM prints itself, with reasons."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from conftest import Run, words
from nim_listings import LISTINGS, tags_of

from nimctl.core.profile_reports import ProfileList

BY_ID = {listing["id"]: listing for listing in LISTINGS}
L40S = BY_ID["llama3-8b-1.0.3-2xL40S"]
MAGPIE = BY_ID["magpie-tts-1.3.0-A100SXM80"]


def manifest(directory: Path, listing: dict[str, Any], **tags: str) -> Path:
    """The manifest that a container with this listing has, schema 2."""
    classes = ("compatible", "compatible_lora", "compilable", "incompatible")
    profiles = [
        {"id": row["id"], "tags": {**(row.get("tags") or tags_of(row["name"])), **tags}}
        for name in classes
        for row in listing.get(name) or ()
    ]
    path = directory / "model_manifest.yaml"
    path.write_text(json.dumps({"schema_version": "2.0", "profiles": profiles}))
    return path


def test_a_manifest_is_listed_in_nims_classes_and_order(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, L40S)
    lines = run("list-profiles", "--manifest", path, "--gpu", "l40s:2").out.splitlines()
    start = lines.index("SYSTEM INFO")
    assert max(map(len, lines[start:])) <= 80  # a path before it may be longer
    assert lines[start : start + 6] == [
        "SYSTEM INFO",
        "- Free GPUs:",
        "  - [26b9:10de] (0) NVIDIA L40S [current utilization: 0%]",
        "  - [26b9:10de] (1) NVIDIA L40S [current utilization: 0%]",
        "- Non-free GPUs:",
        "  - <None>",
    ]
    headings = [line for line in lines if line.startswith("- ")]
    assert headings[2:] == [
        "- Compatible with system and runnable:",
        "- Compatible with system but low memory:",
        "- Compilable to TRT-LLM using just-in-time compilation of HF models to TRTLLM",
        "- Incompatible with system:",
    ]
    printed = [row["id"] for name in ("compatible", "compatible_lora") for row in L40S[name]]
    running = lines[lines.index(headings[2]) : lines.index(headings[3])]
    rows = [word for line in running for word in line.split() if len(word) == 64]
    assert rows == printed
    marked = [line for line in lines if "* " in line]
    assert marked == [f"  * {L40S['expected_selected']}"]
    assert "    chosen: target: latency before throughput" in lines
    assert "    made for h100, this host has 2 L40S" in lines


def test_a_row_says_what_memory_it_states_and_what_of_it_is_in_the_store(
    run: Run, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(2**20))
    path = tmp_path / "m.yaml"
    path.write_text(
        f"""schema_version: '2.0'
profiles:
- id: small
  tags: {{llm_engine: vllm, min_vram_per_device_gb: '24'}}
  workspace: {{files: {{a: {{uri: {weights}}}}}}}
- id: {"4f" * 32}
  tags: {{llm_engine: vllm, precision: bf16, min_vram_per_device_gb: '40.5'}}
"""
    )
    pulled = run("pull", "--manifest", path, "--profile", "small", "--model-store", tmp_path / "s")
    assert pulled.code == 0, pulled
    out = run("list-profiles", "--manifest", path, "--gpu", "l40s").out
    assert "small (vllm) [requires >=24 GB/gpu]\n" in out
    assert "\n    1.0 MiB in the store\n" in out
    assert "\n    (vllm-bf16) [requires >=40.5 GB/gpu]\n" in out


def test_the_document_is_the_same_as_for_the_catalogue(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, L40S)
    report = run("list-profiles", "--manifest", path, "--gpu", "l40s:2", "--json").json
    jsonschema.validate(report, msgspec.json.schema(ProfileList))
    assert report["selected"] == L40S["expected_selected"]
    fits = {one["id"]: one["fit"] for one in report["profiles"]}
    assert {fits[row["id"]] for row in L40S["compatible"]} == {"compatible"}
    assert {fits[row["id"]] for row in L40S["incompatible"]} == {"incompatible"}
    assert report["profiles"][0]["tags"]["llm_engine"] == "tensorrt_llm"


def test_a_gpu_in_use_is_listed_as_such(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, BY_ID["llama3-8b-1.0.0-1xA100SXM80-selected"])
    lines = run(
        "list-profiles", "--manifest", path, "--gpu", "a100_sxm_80gb,used=30GiB"
    ).out.splitlines()
    assert lines[lines.index("- Non-free GPUs:") + 1] == (
        "  - [20b2:10de] (0) NVIDIA A100-SXM4-80GB [current utilization: 38%]"
    )
    assert any("needs an idle GPU: 38 % of the memory of A100-SXM4-80GB" in one for one in lines)


def test_speech_nims_have_two_classes(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, MAGPIE)
    lines = run("list-profiles", "--manifest", path, "--gpu", "a100_sxm_80gb").out.splitlines()
    assert max(map(len, lines[lines.index("SYSTEM INFO") :])) <= 80
    assert [line for line in lines if line.startswith(("- Co", "- In"))] == [
        "- Compatible with system:",
        "- Incompatible with system:",
    ]
    choice = run(
        *("list-profiles", "--manifest", path, "--gpu", "a100_sxm_80gb"),
        *("--tags", "batch_size=64", "--json"),
    ).json
    (one,) = [one for one in choice["profiles"] if one["id"] == choice["selected"]]
    assert one["tags"]["batch_size"] == "64"


def test_adapters_choose_a_profile_that_serves_them(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, L40S)
    asked = ("list-profiles", "--manifest", path, "--gpu", "l40s:2", "--json")
    for more, env in ((("--lora",), {}), ((), {"NIM_PEFT_SOURCE": "/loras"})):
        report = run(*asked, *more, env=env).json
        assert report["selected"] == L40S["compatible_lora"][0]["id"]


def test_a_pinned_profile_is_marked_and_one_that_is_not_there_is_not_found(
    run: Run, tmp_path: Path
) -> None:
    path = manifest(tmp_path, L40S)
    asked = ("list-profiles", "--manifest", path, "--gpu", "l40s:2", "--json")
    row = L40S["compatible"][-1]
    for text in (row["id"], row["name"], row["id"][:10], f"{row['id']} ({row['name']})"):
        report = run(*asked, env={"NIM_MODEL_PROFILE": text}).json
        assert (report["selected"], report["why"]) == (row["id"], "it was asked for")
    result = run(*asked, env={"NIM_MODEL_PROFILE": "vllm-fp64-tp1"})
    assert result.code == 3
    words(result, "there is no profile `vllm-fp64-tp1`")


def test_explain_works_on_a_manifest(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, L40S)
    out = run(
        *("list-profiles", "--manifest", path, "--gpu", "l40s:2"), "--explain", "vllm-fp16-tp1"
    ).out
    assert "8835c31752fbc67ef658b20a9f78e056914fdef0660206d82f252d62fd96064d" in out
    assert "by tensor parallelism: tp2 before tp1" in out
    assert "how much memory it needs is not known" in out


def test_the_memory_of_a_model_that_the_catalogue_has_is_reckoned(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, L40S)
    document = json.loads(path.read_text())
    for profile in document["profiles"]:
        uri = "ngc://nim/meta/llama-3.1-8b-instruct:hf-1?file=config.json"
        profile["workspace"] = {"files": {"config.json": {"uri": uri}}}
    path.write_text(json.dumps(document))
    report = run("list-profiles", "--manifest", path, "--gpu", "l40s:2", "--json").json
    memory = {one["name"]: one["memory"] for one in report["profiles"] if one["memory"]}
    assert memory["vllm-fp16-tp1"]["weights_bytes"] / 2**30 == pytest.approx(14.96, rel=0.01)


def test_memory_that_a_profile_states_is_compared(run: Run, tmp_path: Path) -> None:
    listing = BY_ID["llama3-8b-1.0.0-1xA100SXM80-selected"]
    path = manifest(tmp_path, listing, min_vram_per_device_gb="24")
    report = run("list-profiles", "--manifest", path, "--gpu", "rtx_3060", "--json").json
    fits = {one["name"]: (one["fit"], *one["reasons"]) for one in report["profiles"]}
    assert fits["vllm-fp16-tp1"] == (
        "low-memory",
        "short of 10.4 GiB (needs 22.4 GiB of each GPU, RTX 3060 has 12.0 GiB free)",
    )
