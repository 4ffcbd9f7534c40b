"""Which GPUs a server is given."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_decide import HOST

from nimctl.core.devices import GpuWish, assign, parse_gpus, within_reach
from nimctl.core.errors import HardwareError, UsageError
from nimctl.core.machine import Gpu, Host

GIB = 2**30


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


def test_the_emptiest_gpu_is_taken_and_of_equals_the_first() -> None:
    assert [one.index for one in assign([gpu(0, free=70), gpu(1), gpu(2)], 1)] == [1]


def test_gpus_that_nvlink_joins_are_preferred() -> None:
    gpus = [
        gpu(0, nvlink_peers=(2,)),
        gpu(1, nvlink_peers=(3,)),
        gpu(2, nvlink_peers=(0,), free=60),
        gpu(3, nvlink_peers=(1,)),
    ]
    assert [one.index for one in assign(gpus, 2)] == [1, 3]


def test_without_nvlink_one_numa_node_is_preferred() -> None:
    gpus = [gpu(index, numa_node=index % 2) for index in range(4)]
    assert [one.index for one in assign(gpus, 2)] == [0, 2]


def test_gpus_of_two_kinds_never_serve_together() -> None:
    gpus = [gpu(0), gpu(1, kind="20b2:10de")]
    with pytest.raises(HardwareError, match="2 identical GPUs are needed, 1 are free"):
        assign(gpus, 2)


def test_slices_are_no_match_for_whole_gpus() -> None:
    gpus = [gpu(0), gpu(1, mig_profile="3g.40gb", uuid="MIG-1")]
    with pytest.raises(HardwareError):
        assign(gpus, 2)


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


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 80)), min_size=1, max_size=8),
    st.integers(1, 8),
    st.randoms(),
)
def test_the_choice_is_of_one_kind_complete_and_independent_of_order(
    kinds: list[tuple[str, int]], count: int, random: object
) -> None:
    gpus = [gpu(index, kind=kind, free=free) for index, (kind, free) in enumerate(kinds)]
    enough = max(sum(one.pci_device == kind for one in gpus) for kind in "ab") >= count
    if not enough:
        with pytest.raises(HardwareError):
            assign(gpus, count)
        return
    chosen = assign(gpus, count)
    assert len({one.uuid for one in chosen}) == count
    assert len({one.pci_device for one in chosen}) == 1
    shuffled = list(gpus)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert assign(shuffled, count) == chosen
