"""Model files of one's own: checked, listed, and used before the shipped ones."""

from pathlib import Path

import jsonschema
import msgspec
import pytest
from conftest import Run, words

from nimctl.catalog import packaged_directory
from nimctl.core.catalogue import Model
from nimctl.core.reports import CatalogueDirectories, ValidationReport

SOUND = """\
name: {name}
title: {title}
profiles:
  - {{backend: llama_cpp, precision: f16, source: "package://capitals-demo", build: true}}
"""
BROKEN = """\
name: broken
titel: Broken
profiles:
  - backend: llama_cpp
    precision: fp9
"""


@pytest.fixture
def own(environ: dict[str, str]) -> Path:
    """The user's directory of models."""
    directory = Path(environ["HOME"]) / ".config" / "nimctl" / "profiles"
    directory.mkdir(parents=True)
    return directory


def write(directory: Path, name: str, title: str = "Mine") -> Path:
    path = directory / f"{name}.yaml"
    path.write_text(SOUND.format(name=name, title=title))
    return path


def test_a_sound_file_is_validated(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, "mine")
    result = run("profiles", "validate", path)
    assert result.code == 0, result
    assert result.out == "1 file, 1 of them sound\n"


def test_every_flaw_of_every_file_is_told_with_its_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    (tmp_path / "no.yaml").write_text("a: [1,\nb: 2\n")
    write(tmp_path, "sound")
    result = run("profiles", "validate", tmp_path)
    assert result.code == 6
    assert result.out.splitlines()[:2] == [
        f"{tmp_path}/broken.yaml:1: `title` is missing",
        f"{tmp_path}/broken.yaml:2: titel: unknown key; did you mean `title`?",
    ]
    assert f"{tmp_path}/no.yaml: line 3" in result.out
    assert result.out.splitlines()[-1] == "3 files, 1 of them sound"
    words(result, "3 flaws in 2 files", "nimctl profiles schema")


def test_the_report_is_the_documented_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    result = run("profiles", "validate", tmp_path / "broken.yaml", "--json")
    assert result.code == 6
    jsonschema.validate(result.json, msgspec.json.schema(ValidationReport))
    (file,) = result.json["files"]
    assert [(flaw["line"], flaw["place"]) for flaw in file["flaws"]] == [(1, ""), (2, "titel")]


def test_without_a_path_ones_own_and_the_shipped_files_are_checked(run: Run, own: Path) -> None:
    mine = write(own, "mine")
    report = run("profiles", "validate", "--json").json
    files = [file["file"] for file in report["files"]]
    assert files[0] == str(mine)
    assert str(packaged_directory() / "capitals-demo.yaml") in files
    assert [file for file in report["files"] if file["flaws"]] == []


def test_the_directories_are_printed_the_users_first(run: Run, own: Path) -> None:
    result = run("profiles", "path")
    assert result.out.splitlines() == [str(own), str(packaged_directory())]
    report = run("profiles", "path", "--json").json
    jsonschema.validate(report, msgspec.json.schema(CatalogueDirectories))


def test_xdg_config_home_moves_the_users_directory(run: Run, tmp_path: Path) -> None:
    result = run("profiles", "path", env={"XDG_CONFIG_HOME": str(tmp_path / "config")})
    assert result.out.splitlines()[0] == str(tmp_path / "config" / "nimctl" / "profiles")


def test_the_schema_is_that_of_a_model_file(run: Run) -> None:
    schema = run("profiles", "schema").json
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == msgspec.json.decode(msgspec.json.encode(msgspec.json.schema(Model)))


def test_a_new_model_is_listed_and_a_known_one_replaced(run: Run, own: Path) -> None:
    write(own, "mine", "My model")
    write(own, "llama-3.1-8b-instruct", "Not Meta's")
    models = {one["model"]: one for one in run("list-profiles", "--json").json["models"]}
    assert models["mine"]["title"] == "My model"
    assert models["llama-3.1-8b-instruct"]["title"] == "Not Meta's"
    assert models["capitals-demo"]["title"].startswith("Capitals demo")
    assert run("list-profiles", "mine", "--json").json["model"] == "mine"


def test_a_broken_file_of_ones_own_is_named_and_does_not_stand_in_the_way(
    run: Run, own: Path
) -> None:
    (own / "broken.yaml").write_text(BROKEN)
    (own / "unreadable.yaml").mkdir()
    write(own, "other-suffix").rename(own / "other-suffix.yml")
    result = run("list-profiles")
    assert result.code == 0
    assert "capitals-demo" in result.out
    words(
        result,
        f"warning: {own}/broken.yaml is no valid catalogue file: line 1: `title` is missing,",
        f"warning: {own}/unreadable.yaml cannot be read: Is a directory",
        f"warning: {own}/other-suffix.yml is not read",
    )
    named = run("list-profiles", "broken")
    assert named.code == 6
    words(named, f"{own}/broken.yaml", f"nimctl profiles validate {own}/broken.yaml")


def test_a_path_that_does_not_exist_is_a_usage_error(run: Run) -> None:
    result = run("profiles", "validate", "/nowhere/x.yaml")
    assert result.code == 2
    words(result, "/nowhere/x.yaml")


def test_hostile_yaml_is_refused(run: Run, tmp_path: Path) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(8)
    )
    (tmp_path / "bomb.yaml").write_text(bomb)
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 100_000)
    (tmp_path / "twice.yaml").write_text("name: twice\nname: twice\ntitle: x\n")
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    result = run("profiles", "validate", tmp_path)
    assert result.code == 6
    assert result.out.splitlines()[-1] == "4 files, 0 of them sound"
    assert "the document is larger than 1,048,576 bytes" in result.out
    assert "line 2: the key `name` stands here twice" in result.out
