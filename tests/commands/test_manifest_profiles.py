"""`nimctl list-profiles` of NIM manifests: from a file, stdin, a running server, an image."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import msgspec
import pytest
from conftest import Run, words
from docker_cli import RUN, docker
from nim_images import make_file_image
from nim_manifests import NON_LLM, SCHEMA_1, SCHEMA_2
from nim_server import NimServer
from registry_daemon import RegistryDaemon

from nimctl.core.nim_manifest import MANIFEST_PATHS
from nimctl.core.profile_reports import ExplainedProfile, ProfileList

A100 = ("--gpu", "a100_sxm_80gb")


@pytest.fixture
def schema_2(tmp_path: Path) -> Path:
    path = tmp_path / "model_manifest.yaml"
    path.write_text(SCHEMA_2)
    return path


def test_profiles_of_a_manifest_are_judged_in_nims_order(run: Run, schema_2: Path) -> None:
    report = run("list-profiles", "--manifest", schema_2, *A100, "--json").json
    jsonschema.validate(report, msgspec.json.schema(ProfileList))
    assert report["selected"] in ("3a3a3a3a", "3c3c3c3c")
    assert report["why"]
    assert {one["id"]: one["fit"] for one in report["profiles"]} == {
        "3a3a3a3a": "compatible",
        "3c3c3c3c": "compatible",
        "3b3b3b3b": "incompatible",
    }
    assert report["profiles"][0]["tags"]["gpu_device"] == "20b2:10de"
    assert report["manifest"] == {
        "source": str(schema_2),
        "schema": "2",
        "criteria": "default",
        "nim_version": None,
        "download_protocol": None,
    }


def test_the_table_says_where_the_profiles_are_from_and_why_one_does_not_run(
    run: Run, schema_2: Path
) -> None:
    out = run("list-profiles", "--manifest", schema_2, *A100, "--all").out
    assert f"manifest of schema 2 from {schema_2}" in " ".join(out.split())
    assert "* 3a3a3a3a (tensorrt_llm-a100-bf16-tp1-pp1-throughput)" in out
    assert "needs 8 identical GPUs, this host has 1 A100-SXM4-80GB" in " ".join(out.split())


def test_a_profile_is_chosen_and_explained_by_any_name_that_nim_prints(
    run: Run, schema_2: Path
) -> None:
    long = "tensorrt_llm-trtllm_buildable-bf16-tp8-pp1"
    chosen = run("list-profiles", "--manifest", schema_2, *A100, "--profile", long, "--json")
    assert chosen.code == 0, chosen
    report = run("list-profiles", "--manifest", schema_2, "--gpu", "a100_sxm_80gb:8",
                 "--explain", "tensorrt_llm-trtllm_buildable-bf16-tp8", "--json").json  # fmt: skip
    jsonschema.validate(report, msgspec.json.schema(ExplainedProfile))
    assert (report["profile"]["id"], report["profile"]["fit"]) == ("3b3b3b3b", "buildable")
    assert report["manifest"]["source"] == str(schema_2)
    text = run("list-profiles", "--manifest", schema_2, *A100, "--explain", "3b3b3b3b").out
    assert "trtllm_buildable" in text
    unknown = run("list-profiles", "--manifest", schema_2, *A100, "--profile", "vllm")
    assert unknown.code == 3


def test_patterns_choose_by_the_product_and_hostile_ones_are_left_out(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(NON_LLM)
    fits = {
        gpu: {one["id"]: one["fit"] for one in report["profiles"]}
        for gpu in ("a10", "a100_sxm_80gb")
        if (report := run("list-profiles", "--manifest", path, "--gpu", gpu, "--json").json)
    }
    assert fits["a10"] == {"1b1b1b1b": "compatible", "1a1a1a1a": "compatible"}
    assert fits["a100_sxm_80gb"]["1b1b1b1b"] == "incompatible"
    path.write_text(NON_LLM.replace("^NVIDIA-A10(?!0).*", "'^((((.)+)+)+)+~$'"))
    result = run("list-profiles", "--manifest", path, "--gpu", "NVIDIA A100-SXM4-80GB", "--all")
    assert result.code == 0
    assert "is left out: it takes too long, and was stopped" in result.err
    assert "the pattern is left out, it takes too long" in " ".join(result.out.split())


def test_of_many_broken_patterns_few_are_told_on_stderr(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        "\n".join(
            f"p{number}: {{tags: {{backend: onnx, product_name_regex: '({number}'}}}}"
            for number in range(30)
        )
    )
    result = run("list-profiles", "--manifest", path, "--gpu", "l40s", "--json")
    assert result.err.count("is left out") == 3
    assert "27 more are left out" in result.err
    assert all("no valid pattern" in one["reasons"][0] for one in result.json["profiles"])


def test_a_manifest_comes_from_stdin(environ: dict[str, str]) -> None:
    argv = ["list-profiles", "--manifest", "-", "--gpu", "l40s:2", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "nimctl", *argv],
        input=SCHEMA_1.encode(),
        env=environ,
        capture_output=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert (report["model"], report["manifest"]["source"]) == ("acme/tiny-llm", "stdin")
    assert [one["lora"] for one in report["profiles"] if one["id"] == "0a0a0a0a"] == [True]


def test_a_running_server_is_asked_unless_offline(run: Run) -> None:
    answer = json.dumps({"manifest_file": SCHEMA_2}).encode()
    with NimServer({"/v1/manifest": answer}) as nim:
        report = run("list-profiles", "--endpoint", nim.url, *A100, "--json").json
        assert report["manifest"]["source"] == nim.url
        offline = run("list-profiles", "--endpoint", nim.url, "--offline")
        assert offline.code == 5
        assert len(nim.site.seen) == 1
    gone = run("list-profiles", "--endpoint", "http://127.0.0.1:1")
    assert gone.code == 5


@pytest.mark.usefixtures("docker_runs")
def test_an_image_is_read_with_its_labels_and_without_starting_it(run: Run) -> None:
    reference = f"nvcr.io/nim/test/listed:{RUN}"
    labels = {"com.nvidia.nim.version": "1.8.6"}
    make_file_image(reference, {MANIFEST_PATHS[0]: SCHEMA_2.encode()}, labels)
    try:
        report = run("list-profiles", "--image", reference, *A100, "--json").json
        assert report["manifest"]["nim_version"] == "1.8.6"
        out = run("list-profiles", "--image", reference, *A100).out
        assert "NIM 1.8.6" in " ".join(out.split())  # wherever the name's length breaks the line
    finally:
        docker("rmi", "--force", reference)
    absent = run("list-profiles", "--image", reference)
    assert absent.code == 3
    words(absent, f"docker pull {reference}", "--pull-image")


@pytest.mark.usefixtures("docker_runs")
@pytest.mark.parametrize("flag", ["--pull", "--pull-image"])
def test_an_image_in_a_registry_is_pulled_when_that_is_allowed(
    run: Run, tmp_path: Path, flag: str
) -> None:
    with RegistryDaemon(tmp_path) as daemon:
        reference = f"{daemon.host}/nim/test/pulled:{RUN}"
        make_file_image(reference, {MANIFEST_PATHS[1]: SCHEMA_2.encode()}, {})
        docker("push", "--quiet", reference)
        docker("rmi", reference)
        assert run("list-profiles", "--image", reference).code == 3
        assert run("list-profiles", "--image", reference, flag, "--offline").code == 3
        pulled = run("list-profiles", "--image", reference, flag, *A100, "--json")
        try:
            assert pulled.code == 0, pulled
            assert pulled.json["manifest"]["source"] == f"the image {reference}"
        finally:
            docker("rmi", "--force", reference)


def test_what_is_wrong_is_said(run: Run, schema_2: Path, tmp_path: Path) -> None:
    both = run("list-profiles", "capitals-demo", "--manifest", schema_2)
    assert both.code == 2
    two = run("list-profiles", "--endpoint", "http://localhost", "--manifest", schema_2)
    assert two.code == 2
    words(two, "give one of them")
    absent = run("list-profiles", "--manifest", tmp_path / "absent.yaml")
    assert absent.code == 3
    bad = tmp_path / "bad.yaml"
    bad.write_text("a:\n  tags:\n    tp: [1]\n")
    result = run("list-profiles", "--manifest", bad)
    assert result.code == 6
    words(result, "line 3, `a.tags.tp`: text belongs here, not a list")
