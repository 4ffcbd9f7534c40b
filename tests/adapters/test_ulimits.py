"""Containers on an engine that refuses limits, as Docker, Podman and others word it."""

from collections.abc import Callable

import pytest

from nimctl.core.containers import ContainerSpec
from nimctl.core.errors import LimitRefusedError
from nimctl.ulimits import Ulimits

RUNC = "error setting rlimit type {number}: operation not permitted"
CRUN = "setrlimit `RLIMIT_{name}`: Operation not permitted"
NUMBERS = {"memlock": 8, "stack": 3, "nofile": 7}
ASKED = {"memlock": -1, "stack": 67108864}


def spec(limits: dict[str, int]) -> ContainerSpec:
    return ContainerSpec(name="one", image="image", ulimits=limits)


def engine_that_refuses(*names: str, words: str) -> Callable[[ContainerSpec], dict[str, int]]:
    """Start a container as such an engine does; what it has been started with."""

    def start(one: ContainerSpec) -> dict[str, int]:
        for name in names:
            if name in one.ulimits:
                said = words.format(number=NUMBERS[name], name=name.upper())
                raise LimitRefusedError("the engine may not lift this limit", cause=said)
        return one.ulimits

    return start


@pytest.mark.parametrize("words", [RUNC, CRUN])
def test_the_limit_that_is_refused_is_left_out_and_told_once(words: str) -> None:
    said: list[str] = []
    ulimits, start = Ulimits(), engine_that_refuses("memlock", words=words)
    assert ulimits.allowed(spec(ASKED), start, said.append) == {"stack": 67108864}
    (warning,) = said
    assert warning.startswith("WARNING: one runs without the ulimit memlock: ")
    assert ulimits.allowed(spec(ASKED), start, said.append) == {"stack": 67108864}
    assert said == [warning]


def test_several_are_left_out_one_after_another() -> None:
    said: list[str] = []
    start = engine_that_refuses("memlock", "stack", words=RUNC)
    assert Ulimits().allowed(spec(ASKED), start, said.append) == {}
    assert len(said) == 2


def test_all_are_left_out_where_none_is_named() -> None:
    said: list[str] = []
    start = engine_that_refuses("memlock", words="operation not permitted")
    assert Ulimits().allowed(spec(ASKED), start, said.append) == {}
    assert "without the ulimit memlock, stack" in said[0]


def test_a_refusal_without_limits_is_an_error() -> None:
    def start(one: ContainerSpec) -> None:
        raise LimitRefusedError(f"{one.name} may not lift this limit")

    said: list[str] = []
    with pytest.raises(LimitRefusedError):
        Ulimits().allowed(spec({}), start, said.append)
    assert said == []
