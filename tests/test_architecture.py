"""What must stay true of the structure, whatever is added."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nimctl.cli.commands import COMMANDS
from nimctl.core import errors

PACKAGE = Path(errors.__file__).parents[1]
HEAVY = {
    "asyncio",
    "docker",
    "gguf",
    "httpx2",
    "huggingface_hub",
    "importlib.metadata",
    "msgspec",
    "numpy",
    "pydantic",
    "requests",
    "rich",
    "subprocess",
    "xllamacpp",
    "yaml",
}
PROBE = """
import contextlib, io, json, sys
from nimctl.cli.app import main
with contextlib.redirect_stdout(io.StringIO()) as printed:
    code = main(sys.argv[1:])
json.dump({"code": code, "modules": sorted(sys.modules), "out": printed.getvalue()}, sys.stdout)
"""


def loaded_by(*argv: str) -> tuple[set[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *argv], capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)
    assert report["code"] == 0, done
    return set(report["modules"]), report["out"]


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], [], *([c, "--help"] for c in COMMANDS)]
)
def test_help_and_version_import_nothing_heavy(argv: list[str]) -> None:
    modules, out = loaded_by(*argv)
    assert out
    assert not modules & HEAVY


@pytest.mark.parametrize(
    "argv", [["list-profiles", "capitals-demo"], ["pull", "capitals-demo", "--dry-run"]]
)
def test_what_starts_no_container_never_loads_the_docker_sdk(argv: list[str]) -> None:
    modules, _ = loaded_by(*argv)
    assert not modules & {"docker", "requests"}


def test_what_serves_no_nim_never_loads_what_reads_its_manifest() -> None:
    modules, _ = loaded_by("serve", "capitals-demo", "--dry-run")
    assert not modules & {"nimctl.nim_serving", "nimctl.manifests.reading", "nimctl.store.transfer"}


def test_every_module_beside_the_packages_has_its_layer() -> None:
    contracts = tomllib.loads(PACKAGE.parent.joinpath("pyproject.toml").read_text())["tool"][
        "importlinter"
    ]
    (layers,) = (one["layers"] for one in contracts["contracts"] if one["id"] == "direction")
    named = {name for layer in layers for name in layer.split(" | ")}
    found = {f"nimctl.{path.stem}" for path in PACKAGE.glob("[!_]*.py")}
    assert found <= named


def test_help_imports_no_command() -> None:
    modules, out = loaded_by("--help")
    loaded = {name for name in modules if name.startswith("nimctl.cli.")}
    assert loaded == {"nimctl.cli.app", "nimctl.cli.commands"}
    assert all(name in out for name in COMMANDS)


def test_the_entry_point_answers_version_without_click() -> None:
    code = "import sys; sys.argv[1:] = ['--version']; import nimctl.__main__ as m; m.main()"
    code += "; print([x for x in ('click', 'msgspec') if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"


def test_every_command_of_the_table_exists_and_has_help() -> None:
    modules = {path.stem for path in PACKAGE.joinpath("cli").glob("*.py")}
    for name, entry in COMMANDS.items():
        assert entry.module in modules
        assert entry.module == name.replace("-", "_")


def test_every_error_has_a_status_of_its_own_or_its_parents_and_a_meaning() -> None:
    def walk(kind: type[errors.NimctlError]) -> set[type[errors.NimctlError]]:
        return {kind}.union(*(walk(sub) for sub in kind.__subclasses__()))

    kinds = walk(errors.NimctlError) - {errors.NimctlError}
    assert len(kinds) >= 12
    for kind in kinds:
        assert kind.exit_code not in (errors.Exit.OK, errors.Exit.BUG), kind
    assert set(errors.MEANINGS) == set(errors.Exit)


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length >= 400} == {}
