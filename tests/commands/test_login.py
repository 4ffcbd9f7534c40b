"""`login` and `logout`: secrets in one file of the owner's, and nowhere else."""

import io
import json
from pathlib import Path

import pytest
from conftest import Run, words

from nimctl.registries.oci import DockerCredentials
from nimctl.settings import load


@pytest.fixture
def kept(environ: dict[str, str]) -> Path:
    return Path(environ["HOME"]) / ".config" / "nimctl" / "credentials.json"


def test_a_token_is_kept_for_its_owner_only(
    run: Run, kept: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hf_secret\n"))
    result = run("login", "hf", "--password-stdin")
    assert result.code == 0, result
    assert "hf_secret" not in result.out + result.err
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    settings = load(environ)
    assert settings.hf_token == "hf_secret"
    assert "hf_secret" not in repr(settings) + repr(settings.logins)


def test_the_environment_goes_before_what_is_kept(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("kept\n"))
    run("login", "hf", "--password-stdin")
    assert load({**environ, "HF_TOKEN": "given"}).hf_token == "given"


def test_a_registry_login_is_kept_in_dockers_form(
    run: Run, kept: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    assert run("login", "localhost:5000", "-u", "me", "--password-stdin").code == 0
    credentials = DockerCredentials([Path(one) for one in load(environ).docker_auth_files])
    assert credentials.login("localhost:5000", "some/model") == ("me", "secret")
    assert json.loads(kept.read_text())["auths"].keys() == {"localhost:5000"}


def test_logout_forgets_one_and_keeps_the_others(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hf", "ngc"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{name}-secret\n"))
        run("login", name, "--password-stdin")
    assert run("logout", "hf").code == 0
    logins = load(environ).logins
    assert (logins.hf, logins.ngc) == (None, "ngc-secret")
    result = run("logout", "hf")
    assert result.code == 3
    words(result, "nothing is kept for `hf`", "there is ngc")


def test_a_file_that_others_can_read_is_refused(run: Run, kept: Path) -> None:
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    kept.chmod(0o644)
    result = run("ps")
    assert result.code == 2
    words(result, f"chmod 600 {kept}")


def test_without_a_terminal_the_secret_comes_from_standard_input(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    words(run("login", "hf"), "--password-stdin")
    words(run("login", "hf", "--password-stdin"), "the secret is empty")


def test_a_name_is_not_asked_for_where_nobody_can_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    result = run("login", "registry.example.com", "--password-stdin")
    assert result.code == 2
    words(result, "no terminal to ask on", "--username")


@pytest.mark.parametrize("name", ["HF", "huggingface", "huggingface.co"])
def test_the_hub_is_meant_by_any_of_its_names(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    assert run("login", name, "--password-stdin").code == 0
    assert load(environ).hf_token == "secret"
    assert run("logout", name).code == 0


def test_without_a_terminal_a_user_name_is_an_option(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    words(run("login", "nvcr.io", "--password-stdin"), "give --username", "nimctl login ngc")
