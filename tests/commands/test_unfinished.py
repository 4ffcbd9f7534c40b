"""`prune` and `rm` beside a pull that is under way or was killed: what it needs stays."""

import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from conftest import Run
from hub import Hub
from transfers import sha256_of
from waiting import until

from nimctl.core.layout import Layout

# One whose sha256 is known beforehand, one of which only Git's id is, and one that stalls.
DONE = {"a.safetensors": (8).to_bytes(8, "little") + b"{}      ", "a.json": b"{}"}
LAST = random.Random(3).randbytes(300_000)
FILES = {**DONE, "b.gguf": LAST}


@pytest.fixture
def hub(environ: dict[str, str]) -> Iterator[Hub]:
    with Hub() as site:
        site.add("acme/whole", FILES)
        site.add("acme/other", DONE)
        site.faults.stalls = {"b.gguf": 100_000}
        environ["HF_ENDPOINT"] = site.endpoint
        yield site


@contextmanager
def stalled_pull(
    hub: Hub, environ: Mapping[str, str], layout: Layout
) -> Iterator["subprocess.Popen[bytes]"]:
    """A pull that has all but the end of one file, and waits for that."""
    command = [sys.executable, "-m", "nimctl", "pull", "hf://acme/whole", "-q"]
    with subprocess.Popen(command, env=dict(environ), stderr=subprocess.PIPE) as process:
        try:
            until(lambda: not hub.faults.stalls)
            until(lambda: all(layout.blob(sha256_of(one)).exists() for one in DONE.values()))
            yield process
        finally:
            process.kill()


def test_what_a_pull_that_is_under_way_needs_stays(
    run: Run, hub: Hub, environ: dict[str, str], layout: Layout
) -> None:
    assert run("pull", "hf://acme/other").code == 0
    with stalled_pull(hub, environ, layout) as process:
        assert run("rm", "hf://acme/other").code == 0
        for more in ((), ("--unfinished",)):
            report = run("prune", "--json", *more)
            assert report.json == {
                **report.json,
                "blobs": [],
                "unfinished": [],
                "bytes_freed": 0,
            }
        hub.closing.set()
        assert process.wait(timeout=60) == 0, process.stderr and process.stderr.read()
    assert run("verify").code == 0
    assert run("prune", "--unfinished", "--json").json["bytes_freed"] == 0
    assert list(layout.partial("x").parent.iterdir()) == []


def test_what_a_pull_had_that_was_killed_stays_until_it_is_given_up(
    run: Run, hub: Hub, environ: dict[str, str], layout: Layout
) -> None:
    with stalled_pull(hub, environ, layout) as process:
        process.kill()
        process.wait()
    assert run("prune", "--json").json["blobs"] == []
    sent = hub.body_bytes
    again = run("pull", "hf://acme/whole", "--json").json
    assert [one["bytes_fetched"] for one in again["files"]] == [0, 0, len(LAST)]
    assert hub.body_bytes - sent == len(LAST)  # less than a range had come

    run("rm", "hf://acme/whole")
    hub.faults.stalls = {"b.gguf": 100_000}
    with stalled_pull(hub, environ, layout) as process:
        process.kill()
        process.wait()
    counted = run("prune", "--unfinished", "--dry-run", "--json").json
    assert set(counted["blobs"]) == {sha256_of(one) for one in DONE.values()}
    assert counted["unfinished"] == [sha256_of(LAST)]
    assert run("prune", "--unfinished", "--json").json == counted
    assert list(layout.partial("x").parent.iterdir()) == []
