"""`nimctl list-profiles`: what runs here, and why."""

from pathlib import Path

import jsonschema
import msgspec
from conftest import Run, words

from nimctl.core.reports import CatalogueList, ProfileList


def test_the_whole_catalogue_is_listed_with_reasons(run: Run) -> None:
    report = run("list-profiles", "--json").json
    jsonschema.validate(report, msgspec.json.schema(CatalogueList))
    names = [model["model"] for model in report["models"]]
    assert names == sorted(names)
    assert {"capitals-demo", "llama-3.1-8b-instruct"} <= set(names)
    assert report["host"]["cpu"]["cores"] >= 1
    assert report["host"]["memory_total_bytes"] >= report["host"]["memory_available_bytes"]


def test_a_model_has_the_document_that_is_documented(run: Run) -> None:
    report = run("list-profiles", "capitals-demo", "--json").json
    jsonschema.validate(report, msgspec.json.schema(ProfileList))
    assert report["model"] == "capitals-demo"
    profiles = report["profiles"]
    assert report["selected"] == profiles[0]["id"]
    assert [one["fit"] for one in profiles] == ["buildable", "buildable"]
    assert profiles[0]["tags"] == {
        "backend": "llama_cpp",
        "precision": "q8_0",
        "tp": "1",
        "pp": "1",
    }


def test_what_was_built_is_compatible_and_comes_first(run: Run) -> None:
    run("build-engine", "capitals-demo", "--precision", "f16")
    profiles = run("list-profiles", "capitals-demo", "--json").json["profiles"]
    assert [(one["tags"]["precision"], one["fit"]) for one in profiles] == [
        ("f16", "compatible"),
        ("q8_0", "buildable"),
    ]


def test_the_table_marks_the_profile_that_serve_takes(run: Run) -> None:
    lines = run("list-profiles", "capitals-demo").out.splitlines()
    assert lines[2].split() == ["MODEL", "PROFILE", "ID", "FIT", "MEMORY", "WHY"]
    assert "llama_cpp-q8_0-tp1-pp1*" in lines[3]
    assert "*" not in lines[4]


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
