"""An engine of the model that is in the store, and is not what is asked for, or is."""

from pathlib import Path

import pytest
from conftest import Run, words
from foreign_engines import engine_files, sidecar_of, write
from trtllm_model import NAME, add_model

from nimctl.core.layout import Layout
from nimctl.core.refs import ModelRef
from nimctl.store.artifacts import ArtifactStore

NEWER = "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc15"
PREBUILT = ("build-engine", NAME, "--strategy", "prebuilt", "--dry-run")


@pytest.fixture
def imported(run: Run, environ: dict[str, str], tmp_path: Path, layout: Layout) -> str:
    """The key of an engine in bf16 that an H100 with 1.2.1 built."""
    add_model(environ, tmp_path)
    source = f"file://{tmp_path / 'checkpoint'}"
    assert run("pull", source).code == 0
    pinned = ArtifactStore(layout).pinned(ModelRef.parse(source))
    assert pinned is not None
    files = engine_files()
    sidecar = sidecar_of(files, source, model=pinned.digest or "")
    engine = write(tmp_path / "engine", {**files, "engine.json": sidecar})
    return str(run("engines", "import", engine, "--json").json["engine"]["key"])


def test_a_plan_for_other_hardware_knows_what_the_store_has(run: Run, imported: str) -> None:
    plan = run(*PREBUILT, "--precision", "bf16", "--gpu", "h100_sxm")
    assert plan.code == 0, plan
    assert f"strategy prebuilt: the engine {imported[:12]} was built" in plan.out
    argv = ("serve", NAME, "--precision", "bf16", "--gpu", "h100_sxm", "-p", "auto", "--dry-run")
    served = run(*argv)
    assert f"its engine {imported[:12]} is in the store" in served.out


@pytest.mark.parametrize(
    ("asked", "field", "command"),
    [
        (("--gpu", "l40s"), "compute capability is 9.0, needed is 8.9", ""),
        (("--gpu", "h100_pcie"), "GPU is h100_sxm, needed is h100_pcie", ""),
        (
            ("--gpu", "h100_sxm", "--image", NEWER),
            "TensorRT version is 10.14.1, needed is 10.15.1",
            f" --image {NEWER}",
        ),
        (("--gpu", "h100_sxm:2", "--tp", "2"), "parallelism is 1, needed is 2", " --tp 2"),
        (
            ("--gpu", "h100_sxm", "--max-batch-size", "64"),
            "max_batch_size is 8, needed is 64",
            " --max-batch-size 64",
        ),
        (
            ("--gpu", "h100_sxm", "--kv-cache-dtype", "fp8"),
            "KV cache is auto, needed is fp8",
            " --kv-cache-dtype fp8 --calib FILE",
        ),
    ],
    ids=["capability", "part", "release", "tp", "limit", "cache"],
)
@pytest.mark.usefixtures("imported")
def test_the_field_that_differs_is_named_with_the_command_that_mends_it(
    run: Run, asked: tuple[str, ...], field: str, command: str
) -> None:
    result = run(*PREBUILT, "--precision", "bf16", *asked)
    assert result.code == 7, result
    words(result, field, f"hint: nimctl build-engine {NAME} --precision bf16{command}\n")
