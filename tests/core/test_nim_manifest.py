"""What a manifest's document means, and what is no manifest."""

from typing import Any

import pytest

from nimctl.core.nim_manifest import (
    ManifestProfile,
    Misfit,
    NimManifest,
    WorkspaceItem,
    read_manifest,
)

TAGS = {"tags": {"llm_engine": "vllm"}}
BLAKE3 = "ab" * 32


def file_entry(**fields: Any) -> dict[str, Any]:
    return {**TAGS, "workspace": {"files": {"a.json": fields}}}


def component(**fields: Any) -> dict[str, Any]:
    return {**TAGS, "workspace": {"components": [fields]}}


def only(document: object) -> ManifestProfile:
    (profile,) = read_manifest(document).profiles
    return profile


def test_an_id_may_be_any_text_and_every_tag_is_kept() -> None:
    tags = {"colour": "blue", "tp": "2", "odd tag": "", "none": None}
    profile = only({"0f0e-uuid / ü": {"tags": tags, "unknown": ["x"]}})
    assert profile.id == "0f0e-uuid / ü"
    assert profile.tags == {"colour": "blue", "tp": "2", "odd tag": "", "none": ""}


def test_a_component_without_files_is_a_whole_version() -> None:
    items = only({"x": component(dst="models/", src={"repo_id": "o/t/m:1"})}).workspace
    assert items == (WorkspaceItem(path="models/", uri="ngc://o/t/m:1"),)
    (item,) = only({"x": component(src={"repo_id": "hf://o/m:main"})}).workspace
    assert item == WorkspaceItem(path="", uri="hf://o/m:main")


def test_a_component_that_names_no_source_keeps_its_files() -> None:
    # As in the operator's internal/nimparser/v1/testdata/manifest_trtllm_v1.yaml.
    (item,) = only({"x": component(dst="trtllm_engine", src={"files": ["config.json"]})}).workspace
    assert item == WorkspaceItem(path="trtllm_engine/config.json", uri=None)


def test_checksums_become_digests() -> None:
    (item,) = only({"x": file_entry(uri="/a.json", checksum=f"BLAKE3:{BLAKE3}")}).workspace
    assert item.digests == {"blake3": BLAKE3}
    (item,) = only({"x": file_entry(uri="/a.json")}).workspace
    assert item.digests == {}


@pytest.mark.parametrize("version", ["2.0", "2.0.0", "2", "2.1"])
def test_schema_2_is_known_by_its_major_version(version: str) -> None:
    manifest = read_manifest({"schema_version": version, "profiles": [{"id": "a", **TAGS}]})
    assert manifest == NimManifest(
        schema="2", profiles=(ManifestProfile(id="a", tags=TAGS["tags"]),)
    )


@pytest.mark.parametrize(
    ("document", "path", "problem"),
    [
        (None, (), "a mapping belongs here, not nothing"),
        ([], (), "a mapping belongs here, not a list"),
        ("text", (), "a mapping belongs here, not text"),
        ({}, (), "there is no profile in it"),
        ({"apiVersion": "v1", "kind": "Pod"}, ("apiVersion",), "a mapping belongs here, not text"),
        ({"a": {"model": "m"}}, ("a", "tags"), "a mapping belongs here, not nothing"),
        ({"a": {"tags": {"tp": ["1"]}}}, ("a", "tags", "tp"), "text belongs here, not a list"),
        ({"a": {"tags": {"tp": "\x1b[2J"}}}, ("a", "tags", "tp"), "control or unprintable"),
        ({"a": {"tags": {"tp": "auto"}}}, ("a", "tags", "tp"), "a count of GPUs belongs here"),
        ({"a": {"tags": {"pp": "0"}}}, ("a", "tags", "pp"), "a count of GPUs belongs here"),
        ({"a\x07": TAGS}, ("a\x07",), "control or unprintable"),
        ({"schema_version": "3.0", "profiles": []}, ("schema_version",), "schema 3.0 is not known"),
        ({"schema_version": ["2"]}, ("schema_version",), "text belongs here, not a list"),
        ({"schema_version": "2.0"}, ("profiles",), "a list belongs here, not nothing"),
        ({"schema_version": "2.0", "profiles": []}, (), "there is no profile in it"),
        ({"schema_version": "2.0", "profiles": ["x"]}, ("profiles", 0), "not text"),
        ({"schema_version": "2.0", "profiles": [{**TAGS, "x": "y"}]}, ("profiles", 0), "`id` is"),
        ({"profiles": [{"id": "a", **TAGS}]}, (), "`schema_version` is missing"),
        (
            {"schema_version": "2.0", "profiles": [{"id": "a", **TAGS}, {"id": "a", **TAGS}]},
            ("profiles", 1),
            "the id a stands here for the second time",
        ),
        ({"model_profile": "m", "manifest": []}, (), "there is no profile in it"),
        ({"a": file_entry(uri="x", checksum="md5:00")}, ("a", "workspace", "files", "a.json",
          "checksum"), "neither blake3: nor sha256:"),
        ({"a": file_entry(checksum=BLAKE3)}, ("a", "workspace", "files", "a.json", "checksum"),
         "neither blake3: nor sha256:"),
        ({"a": file_entry()}, ("a", "workspace", "files", "a.json"), "`uri` is missing"),
        ({"a": {**TAGS, "workspace": {"files": {"d/": {"uri": "x"}}}}},
         ("a", "workspace", "files", "d/"), "no path of a file"),
        ({"a": {**TAGS, "workspace": {"files": ["a"]}}}, ("a", "workspace", "files"), "not a list"),
        ({"a": component(src={"files": [{}]})},
         ("a", "workspace", "components", 0, "src", "files", 0), "no name of a file"),
        ({"a": component(dst="x")}, ("a", "workspace", "components", 0, "src"), "not nothing"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_told_with_its_path(
    document: object, path: tuple[str | int, ...], problem: str
) -> None:
    with pytest.raises(Misfit) as caught:
        read_manifest(document)
    assert caught.value.path == path
    assert problem in caught.value.problem
