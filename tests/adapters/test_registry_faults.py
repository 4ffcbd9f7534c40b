"""Each fault of the stand-ins, at the first byte, mid-way and at the last: right bytes or an error.

A second run, without the fault, then completes, and fetches no byte that it had.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hub import Hub
from ngc import Ngc
from transfers import RANGE_BYTES, Store, some_bytes

from nimctl.core.errors import Exit, NimctlError
from nimctl.core.http import HttpOptions
from nimctl.core.ngc import NgcCredential
from nimctl.core.ports import Fetched, Registry
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.huggingface import HuggingFaceRegistry
from nimctl.registries.ngc.registry import NgcRegistry

WEIGHTS = "model.gguf"
FILES = {"config.json": b"{}", "empty.txt": b"", WEIGHTS: some_bytes(3 * RANGE_BYTES + 321)}
SIZE = len(FILES[WEIGHTS])
PLACES = {"first": 0, "middle": SIZE // 2, "last": SIZE - 1}


class Site(NamedTuple):
    """A stand-in and a way to its registry; `bytes_kind` is what faults call requests for bytes."""

    standin: Hub | Ngc
    ref: ModelRef
    bytes_kind: str
    connect: Callable[[], Registry]
    ca_file: str | None = None


@pytest.fixture(params=["hf", "ngc"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "hf":
        with Hub() as hub:
            hub.add("acme/tiny", FILES)
            http = HttpOptions(attempts=2, pause_s=0.0)
            ref = ModelRef.parse("hf://acme/tiny")
            yield Site(hub, ref, "cdn", lambda: HuggingFaceRegistry(hub.endpoint, http=http))
        return
    with Ngc(tmp_path) as ngc:
        ngc.add("acme/tiny", is_public=True).add("1", FILES)
        http = HttpOptions(ca_file=ngc.ca_file, attempts=2, pause_s=0.0)
        with Client(http) as client:
            yield Site(
                ngc,
                ModelRef.parse("ngc://acme/tiny"),
                "blob",
                lambda: NgcRegistry(client, ngc.url, ngc.url, NgcCredential()),
                ngc.ca_file,
            )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "nimctl")


def pull(site: Site, store: Store) -> dict[str, Fetched]:
    registry = site.connect()
    files = registry.resolve(site.ref).files
    fetched = store.fetch(*files, locate=registry.locate, ca_file=site.ca_file, stall_timeout_s=0.3)
    assert {one.path: store.read(one) for one in fetched} == FILES
    return {one.path: one for one in fetched}


def outcome(site: Site, store: Store) -> Exit:
    """The exit code that a pull would have; no error leaves wrong bytes behind."""
    try:
        pull(site, store)
    except NimctlError as error:
        assert all(store.blobs.check(sha256) for sha256 in store.blobs)
        return error.exit_code
    return Exit.OK


def clear(site: Site) -> None:
    faults = site.standin.faults
    for planned in (faults.statuses, faults.cuts, faults.stalls, faults.flips, faults.lengths):
        planned.clear()
    faults.ignore_range = faults.wrong_content_range = False


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("corrupt", Exit.VERIFICATION),
        ("truncate", Exit.VERIFICATION),
        ("drop", Exit.OK),
        ("stall", Exit.OK),
    ],
)
def test_bytes_that_go_wrong_are_got_again_or_refused(
    site: Site, store: Store, fault: str, code: Exit, place: str
) -> None:
    faults, at = site.standin.faults, PLACES[place]
    match fault:
        case "corrupt":
            faults.flips[WEIGHTS] = at
        case "truncate":
            faults.lengths[WEIGHTS] = at
        case "drop":
            faults.cuts[WEIGHTS] = [min(at, RANGE_BYTES - 1)]
        case "stall":
            faults.stalls[WEIGHTS] = min(at, RANGE_BYTES - 1)
    assert outcome(site, store) == code
    clear(site)
    again = pull(site, store)[WEIGHTS]
    assert again.bytes_fetched + again.bytes_reused == SIZE
    # What came after all is not fetched again.
    assert (again.bytes_fetched == 0) == (code == Exit.OK)


@pytest.mark.parametrize("uses", [0, 1])
def test_presigned_urls_that_expire_are_renewed(site: Site, store: Store, uses: int) -> None:
    site.standin.signature_uses = 1
    if uses == 0:
        registry = site.connect()
        for file in registry.resolve(site.ref).files:
            registry.locate(file)
        for signed in site.standin.signed.values():
            signed.uses = 0
    pull(site, store)


@pytest.mark.parametrize("fault", ["ignore_range", "wrong_content_range"])
def test_servers_that_do_not_do_ranges_give_one_clean_stream(
    site: Site, store: Store, fault: str
) -> None:
    setattr(site.standin.faults, fault, True)
    pull(site, store)


BYTES_ANSWERS = [
    (401, 1, Exit.OK),  # taken for an expired URL
    (403, 1, Exit.OK),
    (404, 1, Exit.OK),
    (429, 1, Exit.OK),
    (500, 1, Exit.OK),
    (503, 2, Exit.OK),
    (401, 99, Exit.AUTH),
    (402, 99, Exit.AUTH),
    (403, 99, Exit.AUTH),
    (404, 99, Exit.NOT_FOUND),
    (412, 99, Exit.NETWORK),
    (429, 99, Exit.NETWORK),
    (500, 99, Exit.NETWORK),
    (503, 99, Exit.NETWORK),
]


@pytest.mark.parametrize(("status", "times", "code"), BYTES_ANSWERS)
def test_statuses_instead_of_bytes(
    site: Site, store: Store, status: int, times: int, code: Exit
) -> None:
    site.standin.faults.retry_after = "0"
    site.standin.faults.statuses[site.bytes_kind] = [status] * times
    assert outcome(site, store) == code
    clear(site)
    pull(site, store)


API_ANSWERS = [
    (429, 1, Exit.OK),
    (500, 1, Exit.OK),
    (503, 1, Exit.OK),
    (401, 99, (Exit.AUTH, Exit.NOT_FOUND)),
    (402, 99, (Exit.AUTH, Exit.NETWORK)),
    (403, 99, (Exit.AUTH,)),
    (404, 99, (Exit.NOT_FOUND,)),
    (412, 99, (Exit.AUTH, Exit.NETWORK)),
    (429, 99, (Exit.NETWORK,)),
    (500, 99, (Exit.NETWORK,)),
    (503, 99, (Exit.NETWORK,)),
]


@pytest.mark.parametrize(("status", "times", "codes"), API_ANSWERS)
def test_statuses_of_the_api(
    site: Site, store: Store, status: int, times: int, codes: Exit | tuple[Exit, ...]
) -> None:
    site.standin.faults.retry_after = "0"
    site.standin.faults.statuses["api"] = [status] * times
    assert outcome(site, store) in (codes if isinstance(codes, tuple) else (codes,))
    clear(site)
    pull(site, store)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_lists_of_any_page_size_are_read_to_their_end(site: Site, store: Store, size: int) -> None:
    site.standin.page_size = size
    pull(site, store)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a\\b", "CON.json", "c:x"])
def test_hostile_paths_are_refused_before_the_first_byte(
    site: Site, store: Store, path: str
) -> None:
    standin = site.standin
    if isinstance(standin, Hub):
        standin.repositories["acme/tiny"].commit({**FILES, path: b"x"})
    else:
        standin.models["acme", None, "tiny"].add("2", {**FILES, path: b"x"})
    assert outcome(site, store) == Exit.VERIFICATION
    assert not [one for one in standin.seen if one.server == site.bytes_kind]
    assert store.is_empty()
