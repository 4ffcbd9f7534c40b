"""Updates that are killed, so that nothing of them can tidy up."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from conftest import words
from docker_cli import RUN, docker
from router_groups import Group, nimctl, serve
from streams import read_stream
from waiting import until

pytestmark = pytest.mark.xdist_group("router")


@pytest.fixture(scope="module")
def pair(groups_home: dict[str, str]) -> Iterator[Group]:
    """Two replicas; each test leaves both ready."""
    made = serve(groups_home, f"{RUN}-u", "--replicas", "2")
    yield made
    nimctl(groups_home, "stop", made.name)


def exists(name: str) -> bool:
    return docker("ps", "--all", "--quiet", "--filter", f"name=^{name}$") != ""


def container_id(name: str) -> str:
    return docker("inspect", name, "--format", "{{.Id}}")


def killed(group: Group, image: str) -> None:
    """Update to an image that never gets ready, and kill that when it waits for the first."""
    argv = [sys.executable, "-m", "nimctl", "update", group.name, "--image", image]
    with subprocess.Popen(argv, env=group.environ, stderr=subprocess.DEVNULL) as child:
        replaced = f"ancestor={image}"
        until(lambda: docker("ps", "--quiet", "--filter", replaced) != "")
        child.send_signal(signal.SIGKILL)
    assert exists(f"{group.replica(1)}.old")


def test_what_served_comes_back_after_a_second_update_that_fails(
    pair: Group, slow_image: str
) -> None:
    served = container_id(pair.replica(1))
    killed(pair, slow_image)
    failed = nimctl(pair.environ, "update", pair.name, "-e", "PYTHONPATH=/nowhere")
    assert failed.code == 10, failed
    words(failed, f"{pair.replica(1)} was not replaced, and the old one serves again")
    # What is not named stays as it served, and so this was not the image that never was ready.
    assert "No module named" in failed.err
    assert container_id(pair.replica(1)) == served
    assert not exists(f"{pair.replica(1)}.old")
    assert set(pair.states().values()) == {"ready"}
    assert {read_stream(pair.url, 1).replica for _ in range(8)} == {
        pair.replica(1),
        pair.replica(2),
    }


def test_an_update_that_was_killed_can_be_run_again(
    pair: Group, slow_image: str, next_image: str
) -> None:
    killed(pair, slow_image)
    done = nimctl(pair.environ, "update", pair.name, "--image", next_image)
    assert done.code == 0, done
    assert pair.images() == {next_image}
    assert not exists(f"{pair.replica(1)}.old")


def test_one_that_serves_is_kept_whatever_was_set_aside(pair: Group, next_image: str) -> None:
    name = pair.replica(1)
    served = container_id(name)
    # What is there if an update is killed just when the new one was admitted.
    labels = json.loads(docker("inspect", name, "--format", "{{json .Config.Labels}}"))
    told = (f"--label={key}={value}" for key, value in labels.items())
    docker("create", "--name", f"{name}.old", *told, next_image)
    until(lambda: pair.sends_requests_to(1))
    failed = nimctl(pair.environ, "update", pair.name, "-e", "PYTHONPATH=/nowhere")
    assert failed.code == 10, failed
    words(failed, f"{name} was not replaced, and the old one serves again")
    assert container_id(name) == served
    assert not exists(f"{name}.old")


def test_what_was_set_aside_goes_with_its_group(pair: Group, slow_image: str) -> None:
    killed(pair, slow_image)
    # As if it had been killed before there was a new one.
    docker("rm", "--force", pair.replica(1))
    assert nimctl(pair.environ, "stop", pair.name).code == 0
    assert nimctl(pair.environ, "rm", "--server", pair.name).code == 0
    assert docker("ps", "--all", "--quiet", "--filter", f"name={pair.name}") == ""


def test_a_group_that_is_served_anew_has_nothing_of_the_old_one(
    groups_home: dict[str, str], slow_image: str
) -> None:
    first = serve(groups_home, f"{RUN}-n", "--replicas", "2")
    killed(first, slow_image)
    assert nimctl(groups_home, "stop", first.name).code == 0
    again = serve(groups_home, first.name, "--replicas", "2")
    assert not exists(f"{again.replica(1)}.old")
    assert nimctl(groups_home, "stop", again.name).code == 0
