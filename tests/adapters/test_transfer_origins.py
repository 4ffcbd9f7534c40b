"""Who gets to see what: credentials, redirects, proxies, certificates."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fileserver import Asked, FileServer, Served
from transfers import QUICK, RANGE_BYTES, Store, at_its_url, digested, some_bytes

from nimctl.core.errors import NetworkError, NimctlError, UsageError
from nimctl.core.facts import File
from nimctl.core.ports import Location
from nimctl.store.transfer import Transfer, TransferOptions
from nimctl.store.transfer.answers import Ask
from nimctl.store.transfer.client import Client, Network
from nimctl.store.transfer.connection import Sockets

DATA = some_bytes(5 * RANGE_BYTES)
LARGEST_RECORD_BYTES = 2**14  # RFC 8446, 5.1
SECRETS = {
    "Authorization": "Bearer secret-token",
    "X-Api-Key": "secret-key",
    "Cookie": "session=secret",
    "X-NGC-Guest-Token": "secret-guest",
}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def other() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "nimctl")


def with_secrets(file: File) -> Location:
    return Location(url=file.url, headers=SECRETS)


def has_secrets(asked: Asked) -> bool:
    return all(asked.headers.get(name.lower()) == value for name, value in SECRETS.items())


def has_a_secret(asked: Asked) -> bool:
    return "secret" in repr(asked)


def test_credentials_go_with_every_request_to_their_origin(
    server: FileServer, store: Store
) -> None:
    file = digested("file", server.put("file", Served(DATA)), DATA)
    store.fetch(file, locate=with_secrets)
    assert len(server.requests) > 1
    assert all(has_secrets(asked) for asked in server.requests)


def test_credentials_never_follow_a_redirect_to_another_origin(
    server: FileServer, other: FileServer, store: Store
) -> None:
    target = other.put("blob", Served(DATA))
    file = digested("file", server.put("file", Served(b"", redirect=target)), DATA)

    [fetched] = store.fetch(file, locate=with_secrets)

    assert store.read(fetched) == DATA
    assert all(has_secrets(asked) for asked in server.requests)
    assert len(other.requests) > 1
    assert not any(has_a_secret(asked) for asked in other.requests)


def test_credentials_follow_a_redirect_within_their_origin_also_by_way_of_another(
    server: FileServer, other: FileServer, store: Store
) -> None:
    end = server.put("end", Served(DATA))
    middle = other.put("middle", Served(b"", redirect=end))
    file = digested("file", server.put("file", Served(b"", redirect=middle)), DATA)

    [fetched] = store.fetch(file, locate=with_secrets)

    assert store.read(fetched) == DATA
    assert all(has_secrets(asked) for asked in server.requests)
    assert not any(has_a_secret(asked) for asked in other.requests)


def test_credentials_do_not_go_to_the_same_host_under_another_name(
    server: FileServer, store: Store
) -> None:
    target = server.url("end", host="localhost")
    server.put("end", Served(DATA))
    file = digested("file", server.put("file", Served(b"", redirect=target)), DATA)

    store.fetch(file, locate=with_secrets)

    assert not any(has_a_secret(asked) for asked in server.asked("end"))


def test_a_redirect_is_followed_once_and_remembered(
    server: FileServer, other: FileServer, store: Store
) -> None:
    target = other.put("blob", Served(DATA))
    file = digested("file", server.put("file", Served(b"", redirect=target)), DATA)
    store.fetch(file, connections=1)
    assert len(server.requests) == 1
    assert len(other.requests) == 5


def test_a_redirect_that_is_refused_is_asked_for_again(
    server: FileServer, other: FileServer, store: Store
) -> None:
    target = other.put("blob", Served(DATA, signature="2"))
    good = Served(b"", redirect=f"{target}?X-Amz-Signature=2")
    expired = Served(b"", redirect=f"{target}?X-Amz-Signature=1", becomes=(1, good))
    file = digested("file", server.put("file", expired), DATA)

    [fetched] = store.fetch(file)

    assert store.read(fetched) == DATA
    assert len(server.requests) == 2


def test_a_redirect_that_expires_between_the_ranges_is_asked_for_again(
    server: FileServer, other: FileServer, store: Store
) -> None:
    target = other.put("blob", Served(DATA, signature="1"))
    later = Served(b"", redirect=f"{target}?X-Amz-Signature=2")
    server.put("file", Served(b"", redirect=f"{target}?X-Amz-Signature=1", becomes=(1, later)))
    other.put("blob", Served(DATA, signature="1", signature_lasts=3))
    file = digested("file", server.url("file"), DATA)

    [fetched] = store.fetch(file, connections=1)

    assert store.read(fetched) == DATA
    assert len(server.requests) == 2
    assert other.body_bytes == len(DATA)


def test_redirects_that_lead_nowhere_end(server: FileServer, store: Store) -> None:
    url = server.put("loop", Served(b"", redirect=server.url("loop")))
    with pytest.raises(NetworkError, match="redirects more than 5 times"):
        store.fetch(digested("file", url, DATA))
    assert len(server.requests) == 6


def test_a_redirect_to_a_local_file_is_refused(
    server: FileServer, store: Store, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(DATA)
    url = server.put("file", Served(b"", redirect=secret.as_uri()))
    with pytest.raises(NetworkError):
        store.fetch(digested("file", url, DATA))
    assert store.is_empty()


def test_signatures_are_not_shown_in_errors(server: FileServer, store: Store) -> None:
    url = server.url("missing") + "?X-Amz-Signature=secret&X-Amz-Expires=60"
    with pytest.raises(NimctlError) as caught:
        store.fetch(digested("file", url, DATA))
    shown = f"{caught.value.message} {caught.value.cause} {caught.value.hint}"
    assert "secret" not in shown
    assert server.url("missing") in shown


# netrc.


def netrc(tmp_path: Path, text: str) -> str:
    path = tmp_path / "netrc"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


def test_netrc_is_used_for_its_exact_host_only_and_not_after_a_redirect(
    server: FileServer, other: FileServer, store: Store, tmp_path: Path
) -> None:
    text = "machine 127.0.0.1 login me password p%20w\ndefault login any password x"
    path = netrc(tmp_path, text)
    assert set(Network(TransferOptions(netrc_file=path)).logins) == {"127.0.0.1"}
    target = other.url("end", host="localhost")
    other.put("end", Served(DATA))
    file = digested("file", server.put("file", Served(b"", redirect=target)), DATA)

    store.fetch(file, netrc_file=path)

    assert {asked.headers["authorization"] for asked in server.requests} == {basic("me:p%20w")}
    assert all("authorization" not in asked.headers for asked in other.requests)


def test_netrc_never_replaces_a_credential(
    server: FileServer, store: Store, tmp_path: Path
) -> None:
    path = netrc(tmp_path, "machine 127.0.0.1 login me password pw")
    file = digested("file", server.put("file", Served(DATA)), DATA)
    store.fetch(file, locate=with_secrets, netrc_file=path)
    assert all(has_secrets(asked) for asked in server.requests)


def test_netrc_is_not_sent_unencrypted_to_another_machine(
    server: FileServer, store: Store, tmp_path: Path
) -> None:
    server.put("file", Served(DATA))
    path = netrc(tmp_path, "machine models.invalid login me password pw")
    file = digested("file", "http://models.invalid/file", DATA)
    store.fetch(file, netrc_file=path, proxies={"http": f"http://127.0.0.1:{server.port}"})
    assert server.requests
    assert all("authorization" not in asked.headers for asked in server.requests)


def test_a_missing_netrc_is_none_and_a_broken_one_is_named(
    server: FileServer, store: Store, tmp_path: Path
) -> None:
    file = digested("file", server.put("file", Served(DATA)), DATA)
    with pytest.raises(UsageError, match="netrc"):
        store.fetch(file, netrc_file=netrc(tmp_path, "machina 127.0.0.1"))
    store.fetch(file, netrc_file=str(tmp_path / "missing"))


# Proxies.


def test_a_proxy_gets_http_requests_in_absolute_form(server: FileServer, store: Store) -> None:
    server.put("dir/file", Served(DATA))
    proxies = {"http": f"http://me:p%40ss@127.0.0.1:{server.port}", "no": "localhost"}
    file = digested("file", "http://models.invalid/dir/file", DATA)

    [fetched] = store.fetch(file, proxies=proxies)

    assert store.read(fetched) == DATA
    for asked in server.requests:
        assert asked.target == "http://models.invalid/dir/file"
        assert asked.headers["host"] == "models.invalid"
        assert asked.headers["proxy-authorization"] == basic("me:p@ss")


def test_no_proxy_goes_past_the_proxy(server: FileServer, other: FileServer, store: Store) -> None:
    file = digested("file", server.put("file", Served(DATA)), DATA)
    proxies = {"http": f"http://127.0.0.1:{other.port}", "no": "127.0.0.1"}
    store.fetch(file, proxies=proxies)
    assert other.requests == []


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for localhost, in one PEM file."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    argv = [*command.split(), *subject.split(), "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(argv, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[FileServer]:
    with FileServer(certificate=certificate) as server:
        yield server


def test_tls_with_an_authority_of_ones_own(
    secure: FileServer, store: Store, certificate: Path
) -> None:
    secure.put("file", Served(DATA))
    file = digested("file", secure.url("file", host="localhost"), DATA)
    [fetched] = store.fetch(file, ca_file=f"{certificate}.crt")
    assert store.read(fetched) == DATA


def test_records_of_tls_are_gathered(secure: FileServer, certificate: Path) -> None:
    data = bytes(2**20)
    secure.put("file", Served(data))
    location = Location(url=secure.url("file", host="localhost"))
    network = Network(TransferOptions(ca_file=f"{certificate}.crt"))
    view = memoryview(bytearray(len(data)))
    counts: list[int] = []
    with Client(network, Sockets()) as client:
        _, content, _ = client.get(location, location.url, Ask())
        with content:
            while count := content.read_into(view):
                counts.append(count)
    assert sum(counts) == len(data)
    assert max(counts) > LARGEST_RECORD_BYTES


def test_an_unknown_authority_is_refused(secure: FileServer, store: Store) -> None:
    secure.put("file", Served(DATA))
    with pytest.raises(NetworkError, match="certificate") as caught:
        store.fetch(digested("file", secure.url("file", host="localhost"), DATA), connections=1)
    assert "SSL_CERT_FILE" in (caught.value.hint or "")
    assert secure.requests == []


def test_a_certificate_for_another_name_is_refused(
    secure: FileServer, store: Store, certificate: Path
) -> None:
    secure.put("file", Served(DATA))
    with pytest.raises(NetworkError, match="certificate"):
        store.fetch(digested("file", secure.url("file"), DATA), ca_file=f"{certificate}.crt")
    assert secure.requests == []


def test_authorities_that_cannot_be_read_are_named(store: Store, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(NetworkError, match=r"missing\.pem"):
        store.fetch(digested("file", "https://localhost:1/file", DATA), ca_file=missing)


def test_a_redirect_from_tls_to_plain_http_is_refused(
    secure: FileServer, server: FileServer, store: Store, certificate: Path
) -> None:
    target = server.put("file", Served(DATA))
    secure.put("file", Served(b"", redirect=target))
    file = digested("file", secure.url("file", host="localhost"), DATA)
    with pytest.raises(NetworkError, match="unencrypted"):
        store.fetch(file, ca_file=f"{certificate}.crt")
    assert server.requests == []


def test_a_proxy_tunnels_tls_and_sees_nothing_of_it(
    secure: FileServer, server: FileServer, store: Store, certificate: Path
) -> None:
    secure.put("file", Served(DATA))
    file = digested("file", secure.url("file", host="localhost"), DATA)

    [fetched] = store.fetch(
        file,
        locate=with_secrets,
        ca_file=f"{certificate}.crt",
        proxies={"https": f"http://me:pw@127.0.0.1:{server.port}"},
    )

    assert store.read(fetched) == DATA
    assert server.requests == []
    assert {asked.target for asked in server.connects} == {f"localhost:{secure.port}"}
    assert {asked.headers["proxy-authorization"] for asked in server.connects} == {basic("me:pw")}
    assert all(has_secrets(asked) for asked in secure.requests)
    assert all("proxy-authorization" not in asked.headers for asked in secure.requests)


def test_peeking_keeps_the_same_rules(server: FileServer, other: FileServer, store: Store) -> None:
    small = DATA[:100]
    target = other.put("blob", Served(small))
    file = digested("file", server.put("file", Served(b"", redirect=target)), small)
    options = TransferOptions(retries=QUICK.retries)
    assert Transfer(store.blobs, options).peek(file, with_secrets) == small
    assert all(has_secrets(asked) for asked in server.requests)
    assert not any(has_a_secret(asked) for asked in other.requests)
    assert Transfer(store.blobs, options).peek(file, at_its_url) == small
