"""Logins as docker and podman keep them, and real helper programs."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from nimctl.core.errors import AuthError, UsageError
from nimctl.registries.oci.docker_credentials import DockerCredentials
from nimctl.registries.oci.keyring_logins import KeyringLogins
from nimctl.registries.oci.proofs import IdentityToken, Login

HELPER = """#!/bin/sh
# A credential helper as Docker runs it: one argument, the server on stdin, JSON on stdout.
[ "$1" = get ] || exit 2
read -r server
echo "$server" >> "$(dirname "$0")/asked"
case "$server" in
  kept.example:5000) echo '{"ServerURL":"x","Username":"ann","Secret":"from-helper"}' ;;
  https://index.docker.io/v1/) echo '{"ServerURL":"x","Username":"hub","Secret":"s"}' ;;
  token.example) echo '{"ServerURL":"x","Username":"<token>","Secret":"s"}' ;;
  nonsense.example) echo 'hello' ;;
  broken.example) echo 'the keychain is locked'; exit 1 ;;
  *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"""


def write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document))
    return path


def pair(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def helpers(tmp_path: Path) -> str:
    """A directory with one helper, in place of PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    return str(directory)


def test_nobody_is_logged_in_where_there_is_no_file(tmp_path: Path) -> None:
    assert DockerCredentials([tmp_path / "none.json"]).login("a.example", "b") is None


def test_docker_s_own_registry_is_kept_under_an_old_name(tmp_path: Path) -> None:
    file = write(tmp_path / "c", {"auths": {"https://index.docker.io/v1/": pair("u", "p:w")}})
    assert DockerCredentials([file]).login("docker.io", "ai/smollm2") == Login("u", "p:w")


@pytest.mark.parametrize("name", ["r.example", "https://r.example", "https://r.example/v2/"])
def test_a_scheme_and_an_api_version_do_not_matter(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / "c", {"auths": {name: pair("u", "p")}})
    assert DockerCredentials([file]).login("r.example", "b") == Login("u", "p")
    assert DockerCredentials([file]).login("r.example:5000", "b") is None


def test_the_most_specific_login_and_the_first_file_count(tmp_path: Path) -> None:
    first = write(
        tmp_path / "auth.json",
        {"auths": {"r.example": pair("host", "1"), "r.example/team": pair("team", "2")}},
    )
    second = write(
        tmp_path / "c", {"auths": {"r.example": pair("x", "3"), "s.example": pair("s", "4")}}
    )
    credentials = DockerCredentials([tmp_path / "none", first, second])
    assert credentials.login("r.example", "team/model") == Login("team", "2")
    assert credentials.login("r.example", "teams/model") == Login("host", "1")
    assert credentials.login("s.example", "a") == Login("s", "4")


def test_a_store_is_asked_and_an_empty_entry_means_nothing(tmp_path: Path, helpers: str) -> None:
    file = write(tmp_path / "c", {"auths": {"kept.example:5000": {}}, "credsStore": "test"})
    credentials = DockerCredentials([file], helper_path=helpers)
    assert credentials.login("kept.example:5000", "a/b") == Login("ann", "from-helper")
    assert credentials.login("docker.io", "a/b") == Login("hub", "s")
    assert credentials.login("other.example", "a/b") is None
    asked = Path(helpers, "asked").read_text().split()
    assert asked == ["kept.example:5000", "https://index.docker.io/v1/", "other.example"]


def test_a_helper_for_one_host_is_asked_for_that_host_only(tmp_path: Path, helpers: str) -> None:
    document = {
        "credHelpers": {"kept.example:5000": "test"},
        "auths": {"b.example": pair("b", "p")},
    }
    credentials = DockerCredentials([write(tmp_path / "c", document)], helper_path=helpers)
    assert credentials.login("kept.example:5000", "a") == Login("ann", "from-helper")
    assert credentials.login("b.example", "a") == Login("b", "p")
    assert Path(helpers, "asked").read_text().split() == ["kept.example:5000"]


def test_a_helper_that_this_machine_lacks_is_passed_over(tmp_path: Path, helpers: str) -> None:
    file = write(tmp_path / "c", {"credsStore": "desktop", "auths": {"r.example": pair("u", "p")}})
    credentials = DockerCredentials([file], helper_path=helpers)
    assert credentials.login("r.example", "a") == Login("u", "p")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("broken.example", "fails"),
        ("nonsense.example", "nonsense"),
    ],
)
def test_a_helper_that_fails_is_an_auth_error(
    tmp_path: Path, helpers: str, host: str, words: str
) -> None:
    file = write(tmp_path / "c", {"credsStore": "test"})
    with pytest.raises(AuthError, match=words):
        DockerCredentials([file], helper_path=helpers).login(host, "a")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"auths":{"r.example":{"auth":"%%%"}}}',
        '{"auths":{"r.example":{"auth":"YQ=="}}}',
    ],
)
def test_a_malformed_file_is_a_usage_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="malformed"):
        DockerCredentials([path]).login("r.example", "a")


def test_identity_tokens_are_kept_in_files_and_by_helpers(tmp_path: Path, helpers: str) -> None:
    entry = {**pair("00000000-0000-0000-0000-000000000000", ""), "identitytoken": "long-lived"}
    document = {"credHelpers": {"token.example": "test"}, "auths": {"acr.example": entry}}
    credentials = DockerCredentials([write(tmp_path / "c", document)], helper_path=helpers)
    assert credentials.login("acr.example", "a") == IdentityToken("long-lived")
    assert credentials.login("token.example", "a") == IdentityToken("s")


def test_a_login_in_the_keyring_goes_before_those_in_files(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c", {"auths": {"r.example": pair("u", "p"), "s.example": pair("s", "4")}}
    )
    asked: list[str] = []

    def secret_of(host: str) -> str:
        asked.append(host)
        return "from the keyring"

    logins = KeyringLogins({"r.example": "ann"}, secret_of, DockerCredentials([file]))
    assert logins.login("s.example", "a") == Login("s", "4")
    assert asked == []
    assert logins.login("r.example", "a") == Login("ann", "from the keyring")


def test_a_secret_is_not_shown() -> None:
    assert "hush" not in repr(Login("ann", "hush")) + repr(IdentityToken("hush"))
