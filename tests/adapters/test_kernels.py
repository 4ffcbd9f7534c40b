"""Kernels in the store: warm for the GPUs that they were compiled on, and copied for others."""

from pathlib import Path

from nimctl.core.engine import WarmedUp
from nimctl.core.layout import Layout
from nimctl.store.kernels import KernelStore

KEY = "a" * 64


def warm(layout: Layout, *indices: int) -> Path:
    """The directory of these GPUs, filled by a warm-up."""
    store = KernelStore(layout)
    directory = store.directory(KEY, indices)
    (directory / "triton").mkdir(parents=True)
    (directory / "triton" / "kernel").write_text("compiled")
    store.keep(WarmedUp(result="warm", image="sha256:1", cache=str(directory)))
    return directory


def test_what_nobody_warmed_is_cold(layout: Layout) -> None:
    store = KernelStore(layout)
    directory = store.directory(KEY, (0,))
    assert directory == layout.root / "caches" / KEY / "gpu0"
    assert not directory.exists()
    assert store.warmed(directory) is None
    # Nor is one whose directory somebody has removed.
    store.keep(WarmedUp(result="warm", image="sha256:1", cache=str(directory)))
    assert store.warmed(directory) is None


def test_a_server_on_other_gpus_gets_a_copy_of_its_own(layout: Layout) -> None:
    first, store = warm(layout, 0, 1), KernelStore(layout)
    other = store.directory(KEY, (2, 3))
    assert (other / "triton" / "kernel").read_text() == "compiled"
    found = store.warmed(other)
    assert found is not None
    assert found.cache == str(other)
    (other / "triton" / "kernel").write_text("changed")
    assert (first / "triton" / "kernel").read_text() == "compiled"
    # What is there is left alone.
    assert store.directory(KEY, (2, 3)) == other
    assert (other / "triton" / "kernel").read_text() == "changed"
    assert sorted(path.name for path in first.parent.iterdir()) == [
        *("gpu0-1", "gpu0-1.json", "gpu2-3", "gpu2-3.json")
    ]


def test_a_cold_directory_is_no_source_of_kernels(layout: Layout) -> None:
    cold = layout.kernels(KEY, (0,))
    cold.mkdir(parents=True)
    assert not KernelStore(layout).directory(KEY, (1,)).exists()


def test_all_of_a_key_go_together_and_nothing_else_does(layout: Layout, tmp_path: Path) -> None:
    directory, store = warm(layout, 0), KernelStore(layout)
    found = store.warmed(directory)
    assert found is not None
    elsewhere = tmp_path / "mine"
    (elsewhere / "gpu0").mkdir(parents=True)
    store.remove(WarmedUp(result="warm", image="sha256:1", cache=str(elsewhere / "gpu0")))
    assert elsewhere.is_dir()
    store.remove(found)
    assert not directory.parent.exists()
