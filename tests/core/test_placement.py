"""Which GPUs serve together."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.machine import Gpu
from nimctl.core.placement import nodes_of, place

GIB = 2**30
# Boards with eight GPUs on two processors, as machines are built: the islands that NVLink makes.
LINKS: dict[str, Sequence[Sequence[int]]] = {
    "NVSwitch": [range(8)],
    "none": [[index] for index in range(8)],
    "bridges of two": [(0, 1), (2, 3), (4, 5), (6, 7)],
    "bridges of four": [(0, 1, 2, 3), (4, 5, 6, 7)],
    "bridges between processors": [(0, 4), (1, 5), (2, 6), (3, 7)],
}


def gpu(index: int, *, free: float = 80, node: int | None = None, peers: Sequence[int] = ()) -> Gpu:
    return Gpu(
        index=index,
        name="NVIDIA H100 80GB HBM3",
        uuid=f"GPU-{index}",
        pci_device="2330:10de",
        compute_capability="9.0",
        memory_total_bytes=80 * GIB,
        memory_free_bytes=int(free * GIB),
        numa_node=node,
        nvlink_peers=tuple(peers),
    )


def board(link: str) -> list[Gpu]:
    island = {index: island for island in LINKS[link] for index in island}
    return [
        gpu(index, node=index // 4, peers=[one for one in island[index] if one != index])
        for index in range(8)
    ]


def indices(groups: Sequence[Sequence[Gpu]]) -> list[list[int]]:
    return [sorted(gpu.index for gpu in group) for group in groups]


def linked(group: Sequence[Gpu]) -> bool:
    return all(two.index in one.nvlink_peers for one, two in combinations(group, 2))


def cost(groups: Sequence[Sequence[Gpu]]) -> tuple[int, int]:
    """How many groups NVLink does not join, then how many straddle nodes."""
    return (
        sum(not linked(group) for group in groups),
        sum(len(nodes_of(group)) > 1 for group in groups),
    )


def divisions(gpus: Sequence[Gpu], size: int, count: int) -> Iterator[list[Sequence[Gpu]]]:
    """Every way to make so many groups."""
    if count == 0:
        yield []
        return
    for at in range(len(gpus) - count * size + 1):
        for others in combinations(gpus[at + 1 :], size - 1):
            rest = [one for one in gpus[at + 1 :] if one not in others]
            for more in divisions(rest, size, count - 1):
                yield [(gpus[at], *others), *more]


def test_the_emptiest_gpu_is_taken_and_of_equals_the_first() -> None:
    assert indices(place([gpu(0, free=70), gpu(1), gpu(2)], 1, 1)) == [[1]]
    # Some MiB say nothing.
    assert indices(place([gpu(0, free=79.99), gpu(1)], 1, 1)) == [[0]]


def test_gpus_that_nvlink_joins_are_preferred() -> None:
    gpus = [
        gpu(0, peers=(2,)),
        gpu(1, peers=(3,)),
        gpu(2, peers=(0,), free=60),
        gpu(3, peers=(1,)),
    ]
    assert indices(place(gpus, 2, 1)) == [[1, 3]]


def test_of_those_that_nvlink_joins_one_node_is_preferred_to_more_room() -> None:
    fuller = {0: 60, 5: 60}
    gpus = [
        msgspec.structs.replace(one, memory_free_bytes=fuller.get(one.index, 80) * GIB)
        for one in board("NVSwitch")
    ]
    assert [nodes_of(group) for group in place(gpus, 4)] == [(0,), (1,)]
    assert indices(place(gpus[:5], 4)) == [[0, 1, 2, 3]]


def test_without_nvlink_one_node_is_preferred() -> None:
    assert indices(place([gpu(index, node=index % 2) for index in range(4)], 2)) == [[0, 2], [1, 3]]


def test_bridged_pairs_stay_together_in_larger_groups() -> None:
    gpus = [gpu(index, node=0, peers=(index ^ 1,), free=80 - index % 2) for index in range(6)]
    assert indices(place(gpus, 4)) == [[0, 1, 2, 3]]


def test_replicas_are_spread_over_nodes_and_one_server_keeps_whole_nodes_free() -> None:
    gpus = board("NVSwitch")
    assert [nodes_of(group) for group in place(gpus, 1, 4)] == [(0,), (1,), (0,), (1,)]
    # Node 1 has one left: taking it leaves four for a server of four.
    assert indices(place(gpus[:5], 1, 1)) == [[4]]


def test_a_group_straddles_when_it_must() -> None:
    gpus = [one for one in board("NVSwitch") if one.index not in (0, 4)]
    assert [nodes_of(group) for group in place(gpus, 4)] == [(0, 1)]
    assert len(place(gpus, 2)) == 3


def test_too_few_make_none() -> None:
    assert place([gpu(0)], 2) == ()
    assert place([], 1) == ()


@pytest.mark.parametrize("link", LINKS)
@given(st.sets(st.integers(0, 7)), st.integers(1, 4))
def test_nothing_divides_a_machine_better(link: str, taken: set[int], size: int) -> None:
    free = [one for one in board(link) if one.index not in taken]
    made = place(free, size)
    assert len(made) == len(free) // size
    assert cost(made) == min(map(cost, divisions(free, size, len(made))))


@given(
    st.lists(
        st.tuples(st.none() | st.integers(0, 3), st.integers(0, 80), st.integers(0, 4)),
        max_size=16,
    ),
    st.integers(1, 8),
    st.none() | st.integers(1, 16),
    st.randoms(),
)
def test_any_machine_is_used_whole_each_gpu_once_and_whatever_the_order(
    kinds: list[tuple[int | None, int, int]], size: int, most: int | None, random: object
) -> None:
    gpus = [
        gpu(
            index,
            free=free,
            node=node,
            peers=[at for at, other in enumerate(kinds) if other[2] == island and at != index],
        )
        for index, (node, free, island) in enumerate(kinds)
    ]
    made = place(gpus, size, most)
    chosen = [one.uuid for group in made for one in group]
    assert len(chosen) == len(set(chosen))
    assert {len(group) for group in made} <= {size}
    there = len(gpus) // size
    assert len(made) == (there if most is None else min(there, most))
    assert made == place(gpus, size)[:most]
    shuffled = list(gpus)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert place(shuffled, size, most) == made
