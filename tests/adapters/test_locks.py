"""Locks between threads and between processes."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nimctl.store.locks import held, try_lock

HOLDER = """
import sys
from pathlib import Path
from nimctl.store.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "one"


def start_holder(path: Path) -> "subprocess.Popen[str]":
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_free_lock_is_had_without_waiting_and_leaves_nothing_behind(path: Path) -> None:
    waited: list[None] = []
    with held(path, on_wait=lambda: waited.append(None)):
        assert path.exists()
    assert not waited
    assert not path.exists()


def test_a_lock_excludes_other_threads_and_tells_once_that_it_waits(path: Path) -> None:
    waits, is_first_out = threading.Event(), False
    seen: list[bool] = []

    def second() -> None:
        with held(path, on_wait=waits.set):
            seen.append(is_first_out)

    thread = threading.Thread(target=second)
    with held(path):
        thread.start()
        assert waits.wait(20)
        assert try_lock(path) is None
        is_first_out = True
    thread.join()
    assert seen == [True]
    assert not path.exists()


def test_a_lock_excludes_other_processes(path: Path) -> None:
    with start_holder(path) as holder:
        assert try_lock(path) is None
        holder.communicate()
    with held(path):
        pass


def test_a_lock_ends_with_its_process_however_that_ends(path: Path) -> None:
    with start_holder(path) as holder:
        holder.kill()
        with held(path):
            pass


def test_a_lock_is_let_go_after_an_error(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(path):
        raise ZeroDivisionError
    lock = try_lock(path)
    assert lock
    lock.release()


def test_only_one_of_many_threads_is_inside_at_a_time(path: Path) -> None:
    inside = 0
    most = 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(25):
            with held(path):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert inside == 0
