"""kill -9 at fifty random moments: no wrong byte under a final name, and nothing comes twice."""

import json
import random
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Run
from slow_sources import CONNECTIONS, RANGE_BYTES, SOURCES, Source, Sources, pull

from nimctl.core.layout import Layout
from nimctl.store.blobs import BlobStore

KILLS = 10
LATE_KILLS = 3  # there is more to go wrong at the end


def wait_for_a_moment(
    process: "subprocess.Popen[bytes]", source: Source, dice: random.Random, *, is_late: bool
) -> None:
    """Let it fetch for a while, or nearly all; then go on for some milliseconds."""
    enough = source.size if is_late else source.sent() + dice.randrange(source.size // 6)
    while process.poll() is None and source.sent() <= enough:
        time.sleep(0.001)
    time.sleep(dice.uniform(0.0, 0.05 if is_late else 0.01))


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
def test_a_pull_that_is_killed_at_any_moment_goes_on(
    run: Run,
    environ: dict[str, str],
    layout: Layout,
    make: Sources,
) -> None:
    dice = random.Random(make.__name__)
    blobs = BlobStore(layout)
    with make(1) as source:
        for number in range(KILLS):
            with pull(source, environ) as process:
                wait_for_a_moment(process, source, dice, is_late=number >= KILLS - LATE_KILLS)
                process.kill()
                process.communicate()
            assert all(blobs.check(sha256) for sha256 in blobs)
        with pull(source, environ) as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        report = json.loads(out)

        found = {one["name"]: Path(one["path"]).read_bytes() for one in report["files"]}
        assert found == source.files
        probes_bytes = KILLS + 1
        lost_bytes = source.sent() - source.size - probes_bytes
        assert lost_bytes <= KILLS * CONNECTIONS * RANGE_BYTES
        assert run("verify").code == 0
    assert not list((layout.root / "blobs" / "partial").iterdir())
