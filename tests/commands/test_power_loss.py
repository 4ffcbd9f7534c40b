"""The power fails while a model is pulled: what a disk has then is enough to go on."""

import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from power import MKFS, Disk
from slow_sources import Sources, archive_with_a_digest, file_without_a_digest, pull, repository

from nimctl.core.layout import Layout
from nimctl.store.blobs import BlobStore

CUTS = 2
# So much of it comes before each cut, and so slowly, that its state has come to the disk once,
# which it does every two seconds. If nothing were kept, 1.9 times its size would be sent.
SHARE = (0.45, 0.55)
MOST_SENT = 1.8


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if not Path(MKFS).exists():
        pytest.skip("apt-get install e2fsprogs")
    disk = Disk(tmp_path, 96 * 2**20)
    try:
        disk.mount()
    except subprocess.CalledProcessError:
        pytest.xfail("nobody may mount a disk here")
    yield disk
    disk.unmount()


@pytest.mark.parametrize(
    ("make", "speed"),
    [(file_without_a_digest, 0.05), (archive_with_a_digest, 0.05), (repository, 0.3)],
    ids=["file_without_a_digest", "archive_with_a_digest", "repository"],
)
def test_a_pull_goes_on_after_a_power_failure(
    environ: dict[str, str], disk: Disk, make: Sources, speed: float
) -> None:
    environ = {**environ, "NIMCTL_HOME": str(disk.path / "nimctl")}
    blobs = BlobStore(Layout(home=environ["NIMCTL_HOME"]))
    dice = random.Random(make.__name__)
    with make(speed) as source:
        for _ in range(CUTS):
            enough = source.sent() + source.size * dice.uniform(*SHARE)
            with pull(source, environ) as process:
                while process.poll() is None and source.sent() < enough:
                    time.sleep(0.001)
                assert process.poll() is None
                disk.cut()
                process.kill()
                process.communicate()
            disk.unmount()
            disk.mount()
            assert all(blobs.check(sha256) for sha256 in blobs)
        with pull(source, environ) as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        found = {one["name"]: Path(one["path"]) for one in json.loads(out)["files"]}
        assert {name: path.read_bytes() for name, path in found.items()} == source.files
        assert source.sent() < MOST_SENT * source.size
