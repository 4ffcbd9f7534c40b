"""`nimctl build-engine`: built once, under its key, never half."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from conftest import Run, words

import nimctl
from nimctl.core.layout import Layout

NIMCTL = (sys.executable, "-m", "nimctl")
SUPPORT = Path(__file__).parents[1] / "support"
DEMO = Path(nimctl.__file__).parent / "models" / "capitals-demo"


def copy_of_demo(directory: Path) -> Path:
    shutil.copytree(DEMO, directory)
    return directory


def test_an_engine_is_built_once_and_found_again(run: Run, layout: Layout) -> None:
    first = run("build-engine", "capitals-demo", "--precision", "f16", "--json").json
    second = run("build-engine", "capitals-demo", "--precision", "f16", "--json").json
    assert (first["built"], second["built"]) == (True, False)
    assert first["engine"] == second["engine"]
    directory = Path(first["directory"])
    assert directory == layout.engine(first["engine"]["key"])
    assert {path.name for path in directory.iterdir()} == {"model.gguf", "engine.json"}


def test_each_precision_has_an_engine_of_its_own(run: Run) -> None:
    f16 = run("build-engine", "capitals-demo", "--precision", "f16", "--json").json["engine"]
    q8 = run("build-engine", "capitals-demo", "--precision", "q8_0", "--json").json["engine"]
    assert f16["key"] != q8["key"]
    assert f16["model_digest"] == q8["model_digest"]
    assert q8["files"][0]["size"] < 0.6 * f16["files"][0]["size"]


def test_the_same_files_from_elsewhere_need_no_second_build(run: Run, tmp_path: Path) -> None:
    run("build-engine", "capitals-demo", "--precision", "f16")
    copy = copy_of_demo(tmp_path / "copy")
    again = run("build-engine", f"file://{copy}", "--precision", "f16", "--json").json
    assert again["built"] is False


def test_an_unsupported_architecture_is_refused_before_the_fetch(
    run: Run, tmp_path: Path, layout: Layout
) -> None:
    copy = copy_of_demo(tmp_path / "copy")
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config.replace("LlamaForCausalLM", "MambaForCausalLM"))
    result = run("build-engine", f"file://{copy}")
    assert result.code == 7
    words(result, "MambaForCausalLM", "GGUF")
    assert not (layout.root / "blobs").exists()


def test_a_corrupt_checkpoint_leaves_no_engine(run: Run, tmp_path: Path, layout: Layout) -> None:
    copy = copy_of_demo(tmp_path / "copy")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    result = run("build-engine", f"file://{copy}")
    assert result.code == 6
    words(result, "model.safetensors")
    assert list((layout.root / "engines").glob("*")) == []


def test_a_config_that_is_no_json_is_said_to_be(run: Run, tmp_path: Path) -> None:
    copy = copy_of_demo(tmp_path / "copy")
    (copy / "config.json").write_text("{")
    result = run("build-engine", f"file://{copy}")
    assert result.code == 6
    words(result, "config.json")


def test_what_is_an_engine_already_needs_no_build(run: Run, tmp_path: Path) -> None:
    built = run("build-engine", "capitals-demo", "--precision", "f16", "--json").json
    gguf = tmp_path / "demo-f16.gguf"
    shutil.copy(Path(built["directory"]) / "model.gguf", gguf)
    result = run("build-engine", f"file://{gguf}")
    assert result.code == 2
    words(result, "needs no build", "nimctl serve file://")


def test_an_interrupted_build_leaves_nothing_visible(
    environ: dict[str, str], tmp_path: Path, layout: Layout
) -> None:
    # A checkpoint whose conversion takes long enough to be interrupted: many wide layers.
    subprocess.run(
        [
            sys.executable,
            Path(__file__).parents[1] / "support" / "wide_checkpoint.py",
            tmp_path / "c",
        ],
        check=True,
    )
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "nimctl",
            "build-engine",
            f"file://{tmp_path}/c",
            "--progress",
            "json",
        ],
        env=environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert child.stderr is not None
    for line in child.stderr:
        if '"Progressed"' in line and '"build"' in line:
            break
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "error: interrupted" in err
    assert [path for path in (layout.root / "engines").iterdir() if path.is_dir()] == []


def test_two_builds_of_one_engine_build_it_once(environ: dict[str, str], layout: Layout) -> None:
    argv = [
        sys.executable,
        "-m",
        "nimctl",
        "build-engine",
        "capitals-demo",
        "--precision",
        "f16",
        "--json",
    ]
    children = [
        subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    built = [child.communicate(timeout=120)[0].count('"built": true') for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert sum(built) == 1
    assert len(list((layout.root / "engines").glob("[!.]*"))) == 1
