"""Keys of NGC: where they are read from, what they are exchanged for, where they go."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from ngc import Ngc

from nimctl.core.errors import NetworkError, UsageError
from nimctl.core.http import HttpOptions
from nimctl.core.ngc import NgcConfig, credential
from nimctl.http import Client
from nimctl.registries.ngc.config import read_ngc_config
from nimctl.registries.ngc.endpoints import Model
from nimctl.registries.ngc.session import Session

LEGACY = "bGVnYWN5LWtleQ"
DETECTOR = Model(org="acme", team="vision", name="detector")
PATH = "/v2/org/acme/team/vision/models/detector"


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def ngc(tmp_path: Path) -> Iterator[Ngc]:
    with Ngc(tmp_path) as ngc:
        ngc.add("acme/vision/detector").add("1", {"a": b"a"})
        ngc.add("acme/plain").add("1", {"a": b"a"})
        ngc.keys = {LEGACY: {"acme"}, "nvapi-personal": {"acme"}}
        yield ngc


@pytest.fixture
def client(ngc: Ngc) -> Iterator[Client]:
    with Client(HttpOptions(ca_file=ngc.ca_file, attempts=1)) as client:
        yield client


def exchanges(ngc: Ngc) -> list[dict[str, list[str]]]:
    """What each request for a token asked for."""
    return [parse_qs(urlsplit(one.path).query) for one in ngc.requests_to("api", "/token")]


def test_a_legacy_key_is_exchanged_once_for_a_token_of_its_scope(ngc: Ngc, client: Client) -> None:
    session = Session(client, ngc.url, credential(LEGACY))
    for _ in range(3):
        assert session.get(f"{ngc.url}{PATH}", DETECTOR).status == 200
    plain = Model(org="acme", team=None, name="plain")
    assert session.get(f"{ngc.url}/v2/org/acme/models/plain", plain).status == 200
    assert exchanges(ngc) == [
        {"service": ["ngc"], "scope": ["group/ngc:acme", "group/ngc:acme/vision"]},
        {"service": ["ngc"], "scope": ["group/ngc:acme"]},
    ]


def test_a_token_is_renewed_before_it_expires(ngc: Ngc, client: Client) -> None:
    clock = Clock()
    session = Session(client, ngc.url, credential(LEGACY), clock)
    first = session.headers(DETECTOR)
    clock.now_s = 599.0
    assert session.headers(DETECTOR) == first
    clock.now_s = 601.0
    assert session.headers(DETECTOR) != first


def test_a_token_that_lasts_only_seconds_is_used_for_half_of_them(ngc: Ngc, client: Client) -> None:
    ngc.token_lasts_s = 10
    clock = Clock()
    session = Session(client, ngc.url, credential(LEGACY), clock)
    first = session.headers(DETECTOR)
    clock.now_s = 4.0
    assert session.headers(DETECTOR) == first
    clock.now_s = 6.0
    assert session.headers(DETECTOR) != first


def test_a_token_that_is_refused_is_renewed_and_the_request_repeated(
    ngc: Ngc, client: Client
) -> None:
    session = Session(client, ngc.url, credential(LEGACY))
    session.headers(DETECTOR)
    ngc.tokens.clear()
    assert session.get(f"{ngc.url}{PATH}", DETECTOR).status == 200
    assert len(exchanges(ngc)) == 2


def test_a_key_that_is_no_longer_valid_is_not_tried_again_and_again(
    ngc: Ngc, client: Client
) -> None:
    session = Session(client, ngc.url, credential("nvapi-personal"))
    ngc.keys.clear()
    assert session.get(f"{ngc.url}{PATH}", DETECTOR).status == 401
    assert len(ngc.seen) == 1


def test_a_token_service_that_answers_nonsense_is_a_network_error(ngc: Ngc, client: Client) -> None:
    ngc.faults.statuses["token"] = [200]
    with pytest.raises(NetworkError, match="does not answer as NGC does"):
        Session(client, ngc.url, credential(LEGACY)).headers(DETECTOR)


def test_a_guest_keeps_one_token_and_no_netrc_entry_replaces_it(ngc: Ngc, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    with Client(HttpOptions(ca_file=ngc.ca_file, netrc_file=str(netrc))) as client:
        session = Session(client, ngc.url, credential(None))
        for _ in range(2):
            session.get(f"{ngc.url}/v2/models/acme/vision/detector", DETECTOR)
        given = Session(client, ngc.url, credential(None, guest_token="mine"))  # noqa: S106
        given.get(f"{ngc.url}/v2/models/acme/vision/detector", DETECTOR)
    tokens = [one.headers["x-ngc-guest-token"] for one in ngc.seen]
    assert tokens[0] == tokens[1] != tokens[2] == "mine"
    assert all("authorization" not in one.headers for one in ngc.seen)


@pytest.mark.parametrize(
    ("text", "config"),
    [
        (
            ";comment\n[CURRENT]\napikey = nvapi-100%\norg=acme\nteam = vision\n",
            NgcConfig(api_key="nvapi-100%", org="acme", team="vision"),
        ),
        ("[OTHER]\napikey = x\n", NgcConfig()),
        ("", NgcConfig()),
        (
            json.dumps({"apiKey": "nvapi-1", "org": "acme"}),
            NgcConfig(api_key="nvapi-1", org="acme"),
        ),
        (json.dumps({"api_key": "nvapi-1", "team": None}), NgcConfig(api_key="nvapi-1")),
    ],
)
def test_the_configuration_of_the_ngc_tool_is_read(
    tmp_path: Path, text: str, config: NgcConfig
) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    assert read_ngc_config(path) == config
    assert "nvapi" not in repr(read_ngc_config(path))


def test_no_configuration_is_an_empty_one(tmp_path: Path) -> None:
    assert read_ngc_config(tmp_path / ".ngc" / "config") == NgcConfig()


@pytest.mark.parametrize("data", [b"nvapi-secret", b'{"apikey": "nvapi-secret"', b"\xff\xfe"])
def test_a_configuration_that_cannot_be_read_is_named_and_not_quoted(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "config"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        read_ngc_config(path)
    assert str(path) in caught.value.message
    assert "secret" not in f"{caught.value.message} {caught.value.cause} {caught.value.hint}"
