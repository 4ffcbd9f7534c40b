"""The web registry against a real server."""

from collections.abc import Iterator

import pytest
from faulty_server import Handler, Server, Site

from nimctl.core.errors import AuthError, NetworkError, NotFoundError, VerificationError
from nimctl.core.facts import File
from nimctl.core.refs import ModelRef
from nimctl.http import Client, HttpOptions
from nimctl.registries.web import WebRegistry

DATA = b"GGUF" + bytes(1000)
SHA256 = "0f" * 32


class Web(Site):
    """One file, at every path; `head` answers HEAD requests instead of it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = DATA
        self.head: int | None = None
        self.headers: dict[str, str] = {}
        self.redirect: str | None = None


class WebHandler(Handler[Web]):
    name = "web"

    def answer_request(self) -> None:
        site = self.server.site
        if self.path.startswith("/old/"):
            self.answer(302, {"Location": self.path.replace("/old/", "/new/")})
        elif self.has_planned_failure("web"):
            return
        elif self.command == "HEAD" and site.head is not None:
            self.answer(site.head, {})
        else:
            self.answer_file(self.path, site.data, site.headers)


class Place:
    """The server, a registry that asks it, and the reference of a file there."""

    def __init__(self, client: Client) -> None:
        self.site = Web()
        self.server = Server(self.site, WebHandler)
        self.registry = WebRegistry(client)
        self.url = f"{self.server.url}/models/tiny.gguf"

    def resolve(self, suffix: str = "") -> File:
        artifact = self.registry.resolve(ModelRef.parse(self.url + suffix))
        assert artifact.reference == self.url + suffix
        (file,) = artifact.files
        return file


@pytest.fixture
def web() -> Iterator[Place]:
    with Client(HttpOptions(attempts=2, pause_s=0.0)) as client:
        place = Place(client)
        place.server.start()
        yield place
        place.server.stop()


def test_head_tells_size_etag_and_the_url_the_name(web: Place) -> None:
    web.site.headers = {"ETag": '"v1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
    file = web.resolve(f"#sha256={SHA256}")
    assert file == File(
        path="tiny.gguf", url=web.url, size=len(DATA), etag='"v1"', digests={"sha256": SHA256}
    )
    assert [one.method for one in web.site.seen] == ["HEAD"]
    assert web.registry.locate(file).url == web.url
    assert web.registry.locate(file).headers == {}


def test_without_an_etag_the_date_tells_changes(web: Place) -> None:
    web.site.headers = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
    file = web.resolve()
    assert file.etag == "Thu, 01 Jan 2026 00:00:00 GMT"
    assert file.digests == {}


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_server_that_refuses_head_is_asked_for_one_byte(web: Place, status: int) -> None:
    web.site.head = status
    assert web.resolve().size == len(DATA)
    assert [one.method for one in web.site.seen] == ["HEAD", "GET"]


def test_a_server_that_knows_no_ranges_either_still_tells_the_size(web: Place) -> None:
    web.site.head = 405
    web.site.faults.ignore_range = True
    assert web.resolve().size == len(DATA)


def test_an_empty_file_has_no_first_byte_and_is_a_file_all_the_same(web: Place) -> None:
    web.site.head = 405
    web.site.data = b""
    assert web.resolve().size == 0


def test_a_size_that_is_not_told_or_not_the_files_stays_unknown(web: Place) -> None:
    web.site.headers = {"Content-Encoding": "gzip"}
    assert web.resolve().size is None
    web.site.headers = {"Content-Length": ""}
    assert web.resolve(f"#sha256={SHA256}").size is None


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="real name.gguf"', "real name.gguf"),
        ("inline; filename=plain.gguf", "plain.gguf"),
        ("attachment; filename*=UTF-8''mod%C3%A8le.gguf", "modèle.gguf"),
        ("attachment", "tiny.gguf"),
    ],
)
def test_the_server_may_name_the_file(web: Place, header: str, name: str) -> None:
    web.site.headers = {"Content-Disposition": header}
    assert web.resolve().path == name


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", "C:x", "a\\b", "nul"])
def test_a_hostile_name_is_refused(web: Place, name: str) -> None:
    quoted = name.replace("\\", "\\\\")
    web.site.headers = {"Content-Disposition": f'attachment; filename="{quoted}"'}
    with pytest.raises(VerificationError):
        web.resolve()


def test_a_name_that_hides_in_the_url_is_refused(web: Place) -> None:
    web.url = f"{web.server.url}/a/..%2f..%2fetc%2f.."
    with pytest.raises(VerificationError):
        web.resolve()


def test_a_redirect_is_followed_to_learn_and_not_remembered(web: Place) -> None:
    web.url = f"{web.server.url}/old/tiny.gguf?key=1"
    file = web.resolve()
    assert (file.path, file.url, file.size) == ("tiny.gguf", web.url, len(DATA))


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ([404], NotFoundError),
        ([401], AuthError),
        ([403, 403], AuthError),
        ([416], NetworkError),
        ([500, 500], NetworkError),
    ],
)
def test_a_refusal_is_an_error_of_its_kind(
    web: Place, statuses: list[int], kind: type[Exception]
) -> None:
    web.site.faults.statuses["web"] = statuses
    with pytest.raises(kind):
        web.resolve()
    assert web.site.faults.statuses["web"] == []
