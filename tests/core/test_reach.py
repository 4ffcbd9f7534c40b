"""What of a machine a server may use."""

from typing import Any

import msgspec
import pytest
from test_decide import HOST, REF
from test_decide_container import ENGINE, GPUS

from nimctl.core.decide import reachable
from nimctl.core.devices import GpuWish
from nimctl.core.errors import HardwareError
from nimctl.core.machine import Host, Trouble
from nimctl.core.profile import Wish
from nimctl.core.requests import ServeRequest

MACHINE = msgspec.structs.replace(HOST, gpus=GPUS, container_engine=ENGINE)


def reach(
    host: Host = MACHINE, taken: dict[str, str] | None = None, **request: Any
) -> tuple[Host, str | None]:
    wanted = msgspec.structs.replace(ServeRequest(ref=REF), **request)
    return reachable(wanted, host, taken or {})


def test_free_gpus_are_in_reach_and_nothing_needs_to_be_said() -> None:
    near, why = reach(taken={"GPU-0": "llama"})
    assert [gpu.uuid for gpu in near.gpus] == ["GPU-1"]
    assert why is None


def test_without_a_container_engine_the_cpu_serves_and_says_why() -> None:
    trouble = Trouble(kind="no-container-engine", message="permission denied")
    bare = msgspec.structs.replace(MACHINE, container_engine=None, troubles=(trouble,))
    near, why = reach(bare)
    assert near.gpus == ()
    assert why == "NVIDIA H100 80GB HBM3 is not used: permission denied"


def test_an_engine_without_gpus_to_give_leaves_them_idle() -> None:
    engine = msgspec.structs.replace(ENGINE, nvidia_runtime=False)
    _, why = reach(msgspec.structs.replace(MACHINE, container_engine=engine))
    assert "neither the NVIDIA runtime nor CDI devices" in (why or "")


def test_a_container_that_was_asked_for_has_to_fail_for_the_real_reason() -> None:
    bare = msgspec.structs.replace(MACHINE, container_engine=None)
    near, why = reach(bare, wish=Wish(backend="vllm"))
    assert near.gpus == GPUS
    assert why is None


def test_gpus_that_other_servers_have_are_told() -> None:
    near, why = reach(taken={"GPU-0": "llama", "GPU-1": "qwen"})
    assert near.gpus == ()
    assert "other servers have all of it: llama, qwen" in (why or "")
    with pytest.raises(HardwareError):
        reach(taken={"GPU-0": "llama"}, gpus=GpuWish(devices=("0",)))


def test_none_is_none() -> None:
    near, why = reach(gpus=GpuWish(count=0))
    assert (near.gpus, why) == ((), "--gpus none is given")
    assert reach(HOST) == (HOST, None)
