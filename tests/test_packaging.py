"""The wheel carries all that it needs: built from the checkout, installed elsewhere, it serves."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nimctl.catalog import Catalog, packaged_directory

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", directory, ROOT],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return next(directory.glob("*.whl"))


def test_the_wheel_holds_the_catalogue_and_the_demo_model(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in (ROOT / "profiles").glob("*.yaml"):
        assert f"nimctl/profiles/{path.name}" in names
    for path in (ROOT / "nimctl" / "models").rglob("*.*"):
        assert path.relative_to(ROOT).as_posix() in names
    assert "nimctl/py.typed" in names
    assert wheel.stat().st_size < 4_000_000


def test_a_checkout_finds_the_catalogue_beside_the_package() -> None:
    assert packaged_directory() == ROOT / "profiles"
    assert "capitals-demo" in Catalog(packaged_directory()).names()


def test_every_catalogue_file_is_valid_and_named_after_its_model() -> None:
    catalog = Catalog(packaged_directory())
    assert [model.name for model in catalog.all()] == catalog.names()
    for model in catalog.all():
        ids = [profile.id for profile in model.profiles]
        assert len(ids) == len(set(ids)), model.name


def test_an_installed_wheel_serves_the_demo_model(
    wheel: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{wheel}[cpu]"], check=True)
    nimctl = [python.with_name("nimctl")]
    done = subprocess.run(
        [*nimctl, "serve", "capitals-demo", "-d", "-p", "auto", "--json"],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["server"]["state"] == "ready"
    subprocess.run([*nimctl, "stop", "--all"], env=environ, cwd=tmp_path, check=True)


def test_without_the_extra_the_error_names_it(
    wheel: Path, tmp_path: Path, environ: dict[str, str]
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    done = subprocess.run(
        [python.with_name("nimctl"), "serve", "capitals-demo", "-p", "auto"],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "pip install 'nimctl[cpu]'" in done.stderr
    assert "Traceback" not in done.stderr
