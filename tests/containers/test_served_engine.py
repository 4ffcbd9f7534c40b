"""An engine that was built elsewhere, from its reference to an answer: a real Docker engine."""

import json
import tarfile
from pathlib import Path

from foreign_engines import TOKENIZER, engine_files, sidecar_of, write
from gpu_command import Nimctl
from trtllm_model import NAME, add_model, add_texts

from nimctl.core.layout import Layout


def test_an_engine_is_pulled_adopted_and_served(
    nimctl: Nimctl, tmp_path: Path, layout: Layout
) -> None:
    files = engine_files()
    beside = {"engine.json": sidecar_of(files, "hf://acme/tiny"), **TOKENIZER}
    engine = write(tmp_path / "engine", {**files, **beside})
    argv = ("serve", engine, "--detach", "--port", "auto", "--offline", "--wait", "ready")
    served = nimctl.run(*argv)
    assert served.code == 0, served
    assert "strategy prebuilt: file://" in served.err
    container = nimctl.inspected()
    assert "loaded /engines/engine/rank0.engine" in nimctl.log(container["Id"])
    (listed,) = nimctl.run("engines", "--json").json["engines"]
    assert listed["servers"] == ["engine-" + listed["servers"][0].partition("-")[2]]
    key = listed["engine"]["key"]
    sidecar = json.loads((layout.engine(key) / "engine.json").read_text())
    assert sidecar["recipe"]["gpu"] == "h100_sxm"
    # It is the same file from the blob to what the server reads.
    (inside,) = (layout.root / "model-store").glob("*/*/trtllm_engine/rank0.engine")
    assert inside.stat().st_nlink == 4
    assert inside.samefile(layout.engine(key) / "rank0.engine")
    assert nimctl.run("stop", "--all").code == 0
    again = nimctl.run(*argv)
    assert again.code == 0, again
    assert f"strategy prebuilt: the engine {key[:12]} is in the store" in again.err


def test_what_was_made_for_pytorch_is_served_elsewhere_without_its_model(
    nimctl: Nimctl, machine: dict[str, str], tmp_path: Path
) -> None:
    add_model(machine, tmp_path)
    texts = add_texts(tmp_path)
    texts.chmod(0o644)
    argv = ("--strategy", "pytorch", "--precision", "fp8", "--calib", str(texts), "--no-warm-up")
    built = nimctl.run("build-engine", NAME, *argv, "--json")
    assert built.code == 0, built
    key, archive = built.json["engine"]["key"], tmp_path / "made.tar"
    assert nimctl.run("engines", "export", key[:12], str(archive)).code == 0
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "made", filter="data")
    assert nimctl.run("engines", "rm", key[:12]).code == 0
    served = nimctl.run(
        *("serve", f"file://{tmp_path / 'made'}", "--detach", "--port", "auto", "--offline"),
        *("--wait", "ready"),
    )
    assert served.code == 0, served
    assert "has a bundle for PyTorch for h100_sxm, fp8 tp1" in served.err
    container = nimctl.inspected()
    assert "--backend pytorch" in " ".join(container["Config"]["Cmd"])
    assert "compiled " in nimctl.log(container["Id"])
