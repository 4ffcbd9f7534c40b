"""The control-plane client against real servers that misbehave."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import Handler, Server, Site

from nimctl.core.errors import NetworkError, UsageError
from nimctl.core.http import (
    HttpOptions,
)
from nimctl.http import Client, library_client

SECRET = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret"}


class Scripted(Site):
    """Answers by path: one after the other, the last one for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.script: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}

    def on(
        self, path: str, status: int, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        self.script.setdefault(path, []).append((status, headers or {}, body))


class ScriptedHandler(Handler[Scripted]):
    name = "scripted"

    def answer_request(self) -> None:
        answers = self.server.site.script.get(self.path.partition("?")[0], [(404, {}, b"")])
        status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        if status == 0:  # hang up
            self.close_connection = True
            return
        self.answer(status, headers, body)


class Place:
    """A scripted server and its URL."""

    def __init__(self) -> None:
        self.site = Scripted()
        self.server = Server(self.site, ScriptedHandler)
        self.url = self.server.url


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    place.server.start()
    yield place
    place.server.stop()


@pytest.fixture
def other() -> Iterator[Place]:
    place = Place()
    place.server.start()
    yield place
    place.server.stop()


@pytest.fixture
def sleeps() -> list[float]:
    return []


@pytest.fixture
def client(sleeps: list[float]) -> Iterator[Client]:
    with Client(HttpOptions(attempts=3, pause_s=1.0), sleep=sleeps.append) as client:
        yield client


def test_an_answer_has_status_headers_and_body(place: Place, client: Client) -> None:
    place.site.on("/x", 200, {"X-Thing": "1"}, b"body")
    answer = client.get(f"{place.url}/x")
    assert (answer.status, answer.headers["x-thing"], answer.body) == (200, "1", b"body")
    assert client.head(f"{place.url}/x").body == b""
    assert place.site.seen[0].headers["user-agent"].startswith("nimctl/")
    assert place.site.seen[0].headers["accept-encoding"] == "identity"


def test_peek_asks_for_one_byte_and_reads_none_of_a_long_answer(
    place: Place, client: Client
) -> None:
    place.site.on("/x", 200, {"ETag": '"1"'}, b"x" * 40 * 2**20)
    answer = client.peek(f"{place.url}/x")
    assert answer.headers["content-length"] == str(40 * 2**20)
    assert answer.body == b""
    assert place.site.seen[0].headers["range"] == "bytes=0-0"


def test_a_document_that_is_unexpectedly_large_is_not_read_to_its_end(
    place: Place, client: Client
) -> None:
    place.site.on("/x", 200, {}, b"x" * 40 * 2**20)
    with pytest.raises(NetworkError, match="large"):
        client.get(f"{place.url}/x")


@pytest.mark.parametrize("status", [0, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again_after_longer_and_longer_pauses(
    place: Place, client: Client, sleeps: list[float], status: int
) -> None:
    place.site.on("/x", status)
    place.site.on("/x", status)
    place.site.on("/x", 200, {}, b"there")
    assert client.get(f"{place.url}/x").body == b"there"
    assert len(sleeps) == 2
    assert 1.0 <= sleeps[0] < 2.0 <= sleeps[1]


def test_a_body_that_is_cut_off_is_fetched_again(place: Place, client: Client) -> None:
    place.site.on("/x", 200, {"Content-Length": "10", "Connection": "close"}, b"half")
    place.site.on("/x", 200, {}, b"the whole ")
    assert client.get(f"{place.url}/x").body == b"the whole "


def test_an_answer_that_is_no_http_is_told_from_a_server_that_is_not_there(
    place: Place, client: Client
) -> None:
    place.site.on("/x", 200, {"Content-Length": "many"})
    with pytest.raises(NetworkError, match="nonsense"):
        client.get(f"{place.url}/x")


def test_patience_ends(place: Place, client: Client) -> None:
    place.site.on("/x", 503)
    with pytest.raises(NetworkError, match="503 Service Unavailable"):
        client.get(f"{place.url}/x?token=s3cret")
    assert len(place.site.seen) == 3


def test_the_server_says_how_long_to_wait(
    place: Place, client: Client, sleeps: list[float]
) -> None:
    place.site.on("/x", 429, {"Retry-After": "7"})
    place.site.on("/x", 200)
    client.get(f"{place.url}/x")
    assert 7.0 <= sleeps[0] < 10.0


def test_a_server_that_asks_for_an_hour_is_given_up(
    place: Place, client: Client, sleeps: list[float]
) -> None:
    place.site.on("/x", 429, {"Retry-After": "3600"})
    with pytest.raises(NetworkError) as caught:
        client.get(f"{place.url}/x")
    assert "3600 s" in str(caught.value.cause)
    assert sleeps == []


def test_a_refusal_is_not_tried_again(place: Place, client: Client) -> None:
    place.site.on("/x", 403)
    assert client.get(f"{place.url}/x").status == 403
    assert len(place.site.seen) == 1


def test_credentials_follow_a_redirect_within_their_origin_only(
    place: Place, other: Place, client: Client
) -> None:
    place.site.on("/a", 302, {"Location": "/b"})
    place.site.on("/b", 307, {"Location": f"{other.url}/c?X-Amz-Signature=s"})
    other.site.on("/c", 302, {"Location": f"{other.url}/d"})
    other.site.on("/d", 200, {}, b"there")
    answer = client.get(f"{place.url}/a", SECRET)
    assert (answer.body, answer.url) == (b"there", f"{other.url}/d")
    assert all(one.headers["x-api-key"] == "s3cret" for one in place.site.seen)
    for one in other.site.seen:
        assert "s3cret" not in str(one.headers)
        assert one.headers["host"] == other.url.removeprefix("http://")


def test_redirects_end(place: Place, client: Client) -> None:
    place.site.on("/a", 302, {"Location": "/a"})
    with pytest.raises(NetworkError, match="more than 5"):
        client.head(f"{place.url}/a")
    assert len(place.site.seen) == 6


def test_a_library_sends_by_the_same_rules(place: Place, other: Place) -> None:
    place.site.on("/a", 503)
    place.site.on("/a", 302, {"Location": f"{other.url}/b"})
    other.site.on("/b", 200, {}, b"there")
    with library_client(HttpOptions(pause_s=0.0)) as library:
        assert library.get(f"{place.url}/a", headers=SECRET, timeout=None).content == b"there"
        assert "s3cret" not in str(other.site.seen[0].headers)
        place.site.script["/a"] = [(302, {"Location": "ftp://127.0.0.1/"}, b"")]
        with pytest.raises(NetworkError):
            library.get(f"{place.url}/a")


def test_a_server_that_is_not_there_is_a_network_error(
    place: Place, client: Client, sleeps: list[float]
) -> None:
    place.server.server_close()
    with pytest.raises(NetworkError) as caught:
        client.get(f"{place.url}/x?token=s3cret", SECRET)
    assert "s3cret" not in f"{caught.value.message} {caught.value.cause} {caught.value.hint}"
    assert "refused" in str(caught.value.cause)
    assert len(sleeps) == 2


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://127.0.0.1:port/x", "x", "http://"])
def test_a_url_that_makes_no_sense_is_a_network_error(client: Client, url: str) -> None:
    with pytest.raises(NetworkError):
        client.get(url)


def test_a_header_that_cannot_be_sent_is_refused_without_showing_it(
    place: Place, client: Client
) -> None:
    with pytest.raises(UsageError) as caught:
        client.get(f"{place.url}/x", {"Authorization": "Bearer s3cret\r\nX: y"})
    assert "s3cret" not in f"{caught.value.message} {caught.value.cause} {caught.value.hint}"


def test_the_proxy_is_asked_for_the_whole_url_and_localhost_can_be_exempt(
    place: Place, other: Place
) -> None:
    other.site.on("http://models.example/x", 200, {}, b"by proxy")
    place.site.on("/x", 200, {}, b"direct")
    options = HttpOptions(proxies={"http": other.url, "no": "127.0.0.1,.corp.example"})
    with Client(options) as client:
        assert client.get("http://models.example/x").body == b"by proxy"
        assert client.get(f"{place.url}/x").body == b"direct"


def test_the_netrc_file_has_credentials_for_its_host_unless_others_are_given(
    place: Place, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret\ndefault login x password y\n")
    place.site.on("/x", 200)
    with Client(HttpOptions(netrc_file=str(netrc))) as client:
        client.get(f"{place.url}/x")
        client.get(f"{place.url}/x", {"Authorization": "Bearer other"})
        client.get(f"{place.url.replace('127.0.0.1', 'localhost')}/x")
    sent = [one.headers.get("authorization") for one in place.site.seen]
    assert sent == ["Basic bWU6czNjcmV0", "Bearer other", None]


def test_a_netrc_file_that_cannot_be_parsed_is_named(place: Place, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 nonsense")
    with (
        Client(HttpOptions(netrc_file=str(netrc))) as client,
        pytest.raises(UsageError, match="netrc"),
    ):
        client.get(f"{place.url}/x")
    with Client(HttpOptions(netrc_file=str(tmp_path / "absent"))) as client:
        assert client.get(f"{place.url}/x").status == 404


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt-get install openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


def test_a_private_authority_is_trusted_when_it_is_named(
    place: Place, certificate: Path, sleeps: list[float], client: Client
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    place.server.socket = context.wrap_socket(
        place.server.socket, server_side=True, do_handshake_on_connect=False
    )
    place.site.on("/x", 302, {"Location": place.url})
    url = place.url.replace("http://", "https://")
    with pytest.raises(NetworkError, match="not trusted") as caught:
        client.head(f"{url}/x")
    assert "SSL_CERT_FILE" in str(caught.value.hint)
    assert sleeps == []
    with (
        Client(HttpOptions(ca_file=str(certificate))) as trusting,
        pytest.raises(NetworkError, match="unencrypted"),
    ):
        trusting.head(f"{url}/x")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_bundle_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content:
        bundle.write_text(content)
    with (
        Client(HttpOptions(ca_file=str(bundle))) as client,
        pytest.raises(UsageError, match=r"ca\.pem"),
    ):
        client.get("https://127.0.0.1/")
