"""Machines that are planned for, from what a person writes, and from what doctor printed."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_decide import HOST

from nimctl.core.errors import UsageError
from nimctl.core.gpus import keys
from nimctl.core.machine import Host
from nimctl.core.planned import parse_gpu, planned_host, read_host

GIB = 2**30
SOLD_IN_SIZES = ("jetson_orin", "jetson_thor")


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["h100_sxm:8"], ["h100_sxm"] * 8),
        (["rtx_4090", "rtx_3060"], ["rtx_4090", "rtx_3060"]),
        (["NVIDIA L40S:2"], ["l40s"] * 2),
        (["26b9:10de"], ["l40s"]),
        (["26b9:10de:4"], ["l40s"] * 4),
        (["2330:10de,used=1GiB:2", "l4"], ["h100_sxm"] * 2 + ["l4"]),
        ([" gb10 "], ["gb10"]),
        (["Orin (nvgpu),memory=64GiB"], ["jetson_orin"]),
        (["NVIDIA X9,memory=80GiB,capability=13.0:2"], [None] * 2),
    ],
)
def test_gpus_are_named_by_key_name_or_device(texts: list[str], found: list[str | None]) -> None:
    host = planned_host(texts)
    assert [gpu.key for gpu in host.gpus] == found
    assert host.planned
    assert host.container_engine is not None
    assert host.container_engine.offers_gpus


def test_attributes_say_what_differs_from_the_table() -> None:
    gpu = planned_host(["rtx_4090,memory=48GiB,used=3GiB"]).gpus[0]
    assert gpu.memory_total_bytes == 48 * GIB
    assert gpu.memory_used_bytes == 3 * GIB
    assert gpu.memory_free_bytes == 45 * GIB


@pytest.mark.parametrize("size", ["1024MiB", "1024mb", "1024M", "1 GiB", "1gb", "1.0G"])
def test_sizes_are_read_as_people_write_them(size: str) -> None:
    assert parse_gpu(f"l4,used={size}").used == GIB


def test_boards_with_nvlink_connect_equal_gpus() -> None:
    gpus = planned_host(["h100_sxm:2", "a100_sxm_80gb:2", "l40s:2", "h100_nvl,nvlink=yes:2"]).gpus
    assert [gpu.index for gpu in gpus] == list(range(8))
    assert [gpu.nvlink_peers for gpu in gpus] == [(1,), (0,), (3,), (2,), (), (), (7,), (6,)]
    assert planned_host(["h100_sxm,nvlink=no:2"]).gpus[0].nvlink_peers == ()


def test_slices_share_the_index_of_the_gpu_that_they_are_cut_from() -> None:
    gpus = planned_host(["h100_sxm,mig=3g.40gb:3", "h100_sxm"]).gpus
    assert [gpu.index for gpu in gpus] == [0, 0, 1, 2]
    assert [gpu.mig_profile for gpu in gpus] == ["3g.40gb"] * 3 + [None]
    assert gpus[0].memory_total_bytes == 40 * GIB
    assert gpus[0].name == "NVIDIA H100 80GB HBM3 MIG 3g.40gb"
    assert len({gpu.uuid for gpu in gpus}) == 4
    assert all(gpu.nvlink_peers == () for gpu in gpus)
    seven = planned_host(["a100_sxm_80gb,mig=1g.10gb:8"]).gpus
    assert [gpu.index for gpu in seven] == [0] * 7 + [1]


def test_a_slice_of_the_whole_is_no_larger_than_the_gpu() -> None:
    gpu = planned_host(["h200,mig=7g.141gb"]).gpus[0]
    assert gpu.memory_total_bytes == 143771 * 2**20


def test_a_part_that_shares_memory_is_a_machine_of_its_own_kind() -> None:
    host = planned_host(["gb10"])
    assert host.cpu.architecture == "aarch64"
    assert host.gpus[0].unified_memory
    assert host.memory_total_bytes == host.gpus[0].memory_total_bytes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a GPU is named"),
        (":2", "a GPU is named"),
        ("l4:0", "a count, which is last, is 1 to 1024"),
        ("l4:9999", "a count, which is last, is 1 to 1024"),
        ("l4,", "is none of memory="),
        ("l4,memory", "`memory` is none of"),
        ("l4,colour=red", "`colour=red` is none of"),
        ("l4,memory=big", "no size such as 24GiB"),
        ("l4,memory=-1GiB", "no size such as 24GiB"),
        ("l4,used=30GiB", "more than its memory"),
        ("l4,capability=nine", "no compute capability"),
        ("l4,nvlink=maybe", "neither yes nor no"),
        ("l4:2,used=1GiB", "rtx_4090,memory=24GiB,used=3GiB:2"),
        ("l4,used=1GiB,memory=8GiB,used=2GiB", "`used=` stands here twice"),
        ("l4:-1", "a count, which is last, is 1 to 1024"),
        ("26b9:10de:x", "a count, which is last, is 1 to 1024"),
        ("l4,mig=half", "is no MIG profile"),
        ("l4,mig=3g.40gb", "has no slice 3g.40gb"),
        ("h100_sxm,mig=8g.40gb", "has no slice 8g.40gb"),
        ("h100", "h100_pcie"),
        ("h100:2", "h100_nvl"),
        ("NVIDIA X9", "NVIDIA X9"),
        ("jetson_orin", "several sizes"),
        ("NVIDIA GeForce RTX 3080", "rtx_3080_12gb"),
    ],
)
def test_what_cannot_be_planned_for_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned_host([text])
    error = caught.value
    assert words in f"{error.message} {error.cause} {error.hint}"
    assert error.hint


@given(
    st.lists(
        st.tuples(
            st.sampled_from([key for key in keys() if key not in SOLD_IN_SIZES]), st.integers(1, 16)
        ),
        min_size=1,
        max_size=5,
    )
)
def test_every_part_can_be_planned_for_and_the_document_reads_back(
    wanted: list[tuple[str, int]],
) -> None:
    host = planned_host(f"{key}:{count}" for key, count in wanted)
    assert len(host.gpus) == sum(count for _, count in wanted)
    assert [gpu.index for gpu in host.gpus] == list(range(len(host.gpus)))
    assert len({gpu.uuid for gpu in host.gpus}) == len(host.gpus)
    for gpu in host.gpus:
        assert gpu.index not in gpu.nvlink_peers
        assert all(host.gpus[peer].key == gpu.key for peer in gpu.nvlink_peers)
    assert read_host(msgspec.json.encode(host)) == host


@given(
    st.text()
    | st.text(alphabet="h100_sxm,:=memory mig used GiB3g.40gb")
    | st.builds("{},{}={}:{}".format, st.just("l4"), st.text(), st.text(), st.integers())
)
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(UsageError):
        assert planned_host([text]).gpus


def test_a_host_is_read_bare_or_out_of_a_document() -> None:
    bare = msgspec.json.encode(HOST)
    assert read_host(bare) == HOST
    inside = msgspec.json.encode({"schema_version": 1, "host": HOST, "checks": []})
    assert read_host(inside) == HOST


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "truncated"),
        (b"[]", "array"),
        (b"{}", "missing required field"),
        (b'{"host": {"system": 1}}', "$.host.system"),
        (b'{"system": "linux", "colour": "red"}', "unknown field"),
        (b"\xff\xfe", "invalid"),
    ],
)
def test_what_is_no_host_is_refused_with_the_place(document: bytes, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_host(document)
    assert words in (caught.value.cause or "")


def test_a_host_of_an_unknown_version_is_refused() -> None:
    newer = msgspec.json.encode(msgspec.structs.replace(HOST, schema_version=2))
    with pytest.raises(UsageError, match="version 2"):
        read_host(newer)


def test_hosts_compare_by_what_they_have() -> None:
    assert planned_host(["l4"]) == planned_host(["NVIDIA L4"]) == planned_host(["27b8:10de"])
    assert isinstance(planned_host(["l4"]), Host)
