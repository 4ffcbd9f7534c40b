"""Which GPUs serve together: groups of one size that lie as near each other as the machine allows.

Near is one NVLink island first, since tensor parallelism exchanges all activations between its
GPUs, then one NUMA node, so that nothing goes through the link between processors.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from nimctl.core.machine import Gpu

_GIB = 2**30


def place(gpus: Iterable[Gpu], size: int, most: int | None = None) -> tuple[tuple[Gpu, ...], ...]:
    """Divide GPUs of one kind into groups of `size`: all that there can be, or the `most` best.

    As many as can be lie in one NVLink island, of these as many as can be on one NUMA node; of the
    others as many as can be on one node. Among equals the emptiest go first, then those on nodes
    that have fewest groups, so that replicas share as little as they can; then those where
    fewest GPUs are left over, so that whole nodes stay free for others. The order in which GPUs
    are given does not matter.
    """
    rest = sorted(gpus, key=_preference)
    islands = _islands(rest)
    nearness: tuple[Callable[[Gpu], object], ...] = (
        lambda gpu: (islands[gpu.uuid], gpu.numa_node),
        lambda gpu: islands[gpu.uuid],
        lambda gpu: gpu.numa_node,
        lambda _: None,
    )
    made: list[tuple[Gpu, ...]] = []
    for near in nearness:
        pools: dict[object, list[Gpu]] = {}
        for gpu in rest:
            pools.setdefault(near(gpu), []).append(gpu)
        groups = [
            (group, len(pool)) for pool in pools.values() for group in _cut(pool, size, islands)
        ]
        made += _best_first(groups)
        used = {gpu.uuid for group, _ in groups for gpu in group}
        rest = [gpu for gpu in rest if gpu.uuid not in used]
    return tuple(made[:most])


def nodes_of(gpus: Iterable[Gpu]) -> tuple[int, ...]:
    """The NUMA nodes of some GPUs, as far as they are known."""
    return tuple(sorted({gpu.numa_node for gpu in gpus if gpu.numa_node is not None}))


def _cut(pool: Sequence[Gpu], size: int, islands: dict[str, int]) -> list[tuple[Gpu, ...]]:
    """As many groups as a pool has, each from as few nodes and islands as can be."""
    nodes = Counter(gpu.numa_node for gpu in pool)
    cells = Counter((gpu.numa_node, islands[gpu.uuid]) for gpu in pool)
    # Where the emptiest GPU of each is, so that what is together stays together.
    first_of_node = {gpu.numa_node: at for at, gpu in reversed([*enumerate(pool)])}
    first_of_cell = {
        (gpu.numa_node, islands[gpu.uuid]): at for at, gpu in reversed([*enumerate(pool)])
    }

    def nearness(gpu: Gpu) -> tuple[int, ...]:
        node, cell = gpu.numa_node, (gpu.numa_node, islands[gpu.uuid])
        return (-nodes[node], first_of_node[node], -cells[cell], first_of_cell[cell])

    together = sorted(pool, key=nearness)
    return [tuple(together[at : at + size]) for at in range(0, len(pool) - size + 1, size)]


def _best_first(groups: list[tuple[tuple[Gpu, ...], int]]) -> list[tuple[Gpu, ...]]:
    """Sort groups of one nearness; each comes with how many GPUs its pool has."""
    left, found, taken = list(groups), [], Counter[int | None]()

    def worth(one: tuple[tuple[Gpu, ...], int]) -> tuple[object, ...]:
        group, there = one
        least = min(_room(gpu) for gpu in group)
        return -least, taken[group[0].numa_node], there, [_preference(gpu) for gpu in group]

    while left:
        best = min(left, key=worth)
        left.remove(best)
        found.append(best[0])
        taken[best[0][0].numa_node] += 1
    return found


def _islands(gpus: Sequence[Gpu]) -> dict[str, int]:
    """Each GPU's island by UUID: the GPUs that NVLink joins, directly or by way of others of them.

    On NVSwitch, and on boards with bridges, all of an island are peers. On the older boards where
    they are not (DGX-1), the peers are those on one node.
    """
    island = {gpu.uuid: at for at, gpu in enumerate(gpus)}
    for gpu in gpus:
        for peer in gpus:
            if peer.index in gpu.nvlink_peers or gpu.index in peer.nvlink_peers:
                old, new = sorted((island[gpu.uuid], island[peer.uuid]), reverse=True)
                island = {uuid: new if at == old else at for uuid, at in island.items()}
    return island


def _preference(gpu: Gpu) -> tuple[int, bool, int, str]:
    return -_room(gpu), gpu.drives_display, gpu.index, gpu.uuid


def _room(gpu: Gpu) -> int:
    """Free memory in whole GiB: idle GPUs differ by some MiB, which says nothing."""
    if gpu.memory_free_bytes is not None:
        return round(gpu.memory_free_bytes / _GIB)
    return round(((gpu.memory_total_bytes or 0) - (gpu.memory_used_bytes or 0)) / _GIB)
