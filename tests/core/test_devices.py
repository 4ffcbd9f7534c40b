"""Which GPUs a server is given."""

import msgspec
import pytest
from test_decide import HOST

from nimctl.core.decide import reachable
from nimctl.core.devices import GpuWish, parse_gpus, within_reach
from nimctl.core.errors import HardwareError, UsageError
from nimctl.core.machine import Gpu, Host
from nimctl.core.refs import ModelRef
from nimctl.core.requests import ServeRequest

GIB = 2**30
REF = ModelRef.parse("capitals-demo")


def gpu(index: int, *, free: int = 80, kind: str = "2330:10de", **more: object) -> Gpu:
    plain = Gpu(
        index=index,
        name="NVIDIA H100 80GB HBM3",
        uuid=f"GPU-{index}",
        pci_device=kind,
        compute_capability="9.0",
        memory_total_bytes=80 * GIB,
        memory_free_bytes=free * GIB,
    )
    return msgspec.structs.replace(plain, **more)


def machine(*gpus: Gpu) -> Host:
    return msgspec.structs.replace(HOST, gpus=gpus)


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("all", GpuWish()),
        ("none", GpuWish(count=0)),
        ("2", GpuWish(count=2)),
        ("device=0,GPU-1", GpuWish(devices=("0", "GPU-1"))),
        ('"device=1"', GpuWish(devices=("1",))),
    ],
)
def test_gpus_are_asked_for_as_docker_users_do(text: str, wish: GpuWish) -> None:
    assert parse_gpus(text) == wish


@pytest.mark.parametrize("text", ["", "0", "-1", "device=", "some", "gpu=1"])
def test_any_other_word_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--gpus"):
        parse_gpus(text)


def test_a_gpu_of_another_server_is_out_of_reach_unless_shared() -> None:
    host, taken = machine(gpu(0), gpu(1)), {"GPU-0": "llama"}
    assert [one.index for one in within_reach(host, GpuWish(), taken).gpus] == [1]
    assert len(within_reach(host, GpuWish(shared=True), taken).gpus) == 2
    with pytest.raises(HardwareError, match="in use by the server llama"):
        within_reach(host, GpuWish(devices=("0",)), taken)
    shared = within_reach(host, GpuWish(devices=("0",), shared=True), taken)
    assert [one.index for one in shared.gpus] == [0]


def test_no_gpu_is_within_reach_when_none_is_wanted() -> None:
    assert within_reach(machine(gpu(0)), GpuWish(count=0), {}).gpus == ()


def test_a_gpu_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(HardwareError) as refused:
        within_reach(machine(gpu(0)), GpuWish(devices=("7",)), {})
    assert "0 GPU-0" in str(refused.value.cause)


def test_a_slice_is_named_by_its_uuid_only() -> None:
    host = machine(gpu(0, mig_profile="1g.10gb", uuid="MIG-a"))
    assert within_reach(host, GpuWish(devices=("MIG-a",)), {}).gpus == host.gpus
    with pytest.raises(HardwareError):
        within_reach(host, GpuWish(devices=("0",)), {})


def asked(text: str, **more: object) -> ServeRequest:
    plain = ServeRequest(ref=REF, gpus=parse_gpus(text))
    return msgspec.structs.replace(plain, **more)


def test_as_many_are_in_reach_as_were_asked_for_and_of_one_kind() -> None:
    other = gpu(0, kind="26b9:10de", memory_total_bytes=48 * GIB)
    host = machine(other, gpu(1, numa_node=0), gpu(2, numa_node=1), gpu(3, numa_node=1))
    near, why = reachable(asked("2", container=True), host, {})
    # Those that are together.
    assert ([one.index for one in near.gpus], why) == ([2, 3], None)
    with pytest.raises(HardwareError, match="--gpus 4 needs as many GPUs of one kind"):
        reachable(asked("4", container=True), host, {})
    with pytest.raises(HardwareError) as busy:
        reachable(asked("2", container=True), host, {"GPU-1": "a", "GPU-2": "b"})
    assert busy.value.cause == "other servers have the rest: a, b"


@pytest.mark.parametrize("text", ["1", "device=0"])
def test_who_asks_for_gpus_gets_no_cpu(text: str) -> None:
    with pytest.raises(HardwareError, match="there is none"):
        reachable(asked(text), machine(), {})
    # Nor where the engine cannot hand them over, for which reason the container then fails.
    assert len(reachable(asked(text), machine(gpu(0)), {})[0].gpus) == 1
    assert reachable(asked("all"), machine(), {})[0].gpus == ()


def test_one_server_uses_the_gpus_that_were_asked_for_and_replicas_share_them() -> None:
    assert asked("2").choice.gpus == 2
    assert asked("2", replicas=None).choice.gpus is None
    assert asked("none").choice.gpus is None
