"""`login --keyring`: secrets in a real keyring, which the extra `keyring` reaches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hub import Hub

SECRET = "hf_secret"
# The library reads its own variables, so each command is a process.
PLAIN = {"PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring"}
NONE = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


def nimctl(
    environ: dict[str, str], *argv: str, secret: str | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nimctl", *argv]
    return subprocess.run(
        command, env=environ, input=secret, capture_output=True, text=True, check=False
    )


@pytest.fixture
def keyring(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, **PLAIN}


def kept(environ: dict[str, str]) -> Path:
    return Path(environ["HOME"]) / ".config" / "nimctl" / "credentials.json"


def test_a_token_in_the_keyring_opens_a_private_repository(keyring: dict[str, str]) -> None:
    done = nimctl(keyring, "login", "hf", "--keyring", "--password-stdin", secret=SECRET)
    assert done.returncode == 0, done
    assert SECRET not in kept(keyring).read_text() + done.stderr
    with Hub() as hub:
        hub.add("org/private", {"config.json": b"{}"}, private=True)
        hub.grants = {SECRET: {"org/private"}}
        online = {**keyring, "HF_ENDPOINT": hub.endpoint}
        pulled = nimctl(online, "pull", "hf://org/private")
        assert pulled.returncode == 0, pulled
        assert nimctl(keyring, "logout", "hf").returncode == 0
        assert nimctl(online, "pull", "hf://org/private").returncode == 3


def test_a_login_that_moves_to_the_file_leaves_the_keyring(keyring: dict[str, str]) -> None:
    login = ("login", "ghcr.io", "-u", "ann", "--password-stdin")
    assert nimctl(keyring, *login, "--keyring", secret=SECRET).returncode == 0
    assert json.loads(kept(keyring).read_text())["keyring"] == {"ghcr.io": "ann"}
    stored = [path for path in Path(keyring["HOME"]).rglob("*_pass.cfg") if path.is_file()]
    assert len(stored) == 1
    filled = stored[0].stat().st_size
    assert nimctl(keyring, *login, secret=SECRET).returncode == 0
    document = json.loads(kept(keyring).read_text())
    assert (document["keyring"], list(document["auths"])) == ({}, ["ghcr.io"])
    assert stored[0].stat().st_size < filled


def test_where_there_is_no_keyring_the_file_is_named(environ: dict[str, str]) -> None:
    done = nimctl(
        {**environ, **NONE}, "login", "hf", "--keyring", "--password-stdin", secret=SECRET
    )
    assert done.returncode == 2
    assert "the keyring of this system cannot be used" in done.stderr
    assert "without --keyring" in done.stderr
    assert SECRET not in done.stderr
    assert not kept(environ).exists()
