"""Fixtures of all tests: an empty home, the command line in process, and skips that CI forbids."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

from nimctl.cli.app import main
from nimctl.core.layout import Layout
from nimctl.serving.embedded import EmbeddedServers

pytest_plugins = (
    "registry_daemon",
    "container_fixtures",
    "gpu_fixtures",
    "oras_client",
    "router_groups",
)

# A deadline would judge how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

IN_CI = os.environ.get("CI") == "true"
# Where Debian has dockerd, haproxy and nginx, which the PATH of a user who is not root leaves out.
os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"


class Result(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Under CI a skip is a failure: there, everything is installed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true: {report.longrepr}"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a new user: an empty HOME and a PATH."""
    home = tmp_path / "home"
    home.mkdir()
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "NIMCTL_HOME": str(home / "nimctl"),
    }


@pytest.fixture
def layout(environ: dict[str, str]) -> Layout:
    """The paths under that home."""
    return Layout(home=environ["NIMCTL_HOME"])


@pytest.fixture
def run(environ: dict[str, str], capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """The real `main(argv)`, in process; servers that a test leaves running are stopped."""

    def call(*argv: str | Path, env: dict[str, str] | None = None) -> Result:
        capfd.readouterr()
        code = main([str(word) for word in argv], {**environ, **(env or {})})
        out, err = capfd.readouterr()
        return Result(code, out, err)

    yield call
    servers = EmbeddedServers(Layout(home=environ["NIMCTL_HOME"]))
    for name in servers.running():
        servers.stop(name, grace_s=5)


def words(result: Result, *expected: str) -> None:
    """Assert that a failed command said all of this on stderr and no traceback."""
    for one in expected:
        assert one in result.err, result
    assert "Traceback" not in result.err


def steps(document: dict[str, Any]) -> Sequence[str]:
    """The kinds of a plan's steps."""
    return [step["type"] for step in document["steps"]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)], check=True)
    yield directory
    subprocess.run(["umount", "--lazy", str(directory)], check=True)
