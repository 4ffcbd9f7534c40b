"""An engine that was built elsewhere, from its reference to an answer: a real Docker engine."""

import json
from pathlib import Path

from foreign_engines import TOKENIZER, engine_files, sidecar_of, write
from gpu_command import Nimctl

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
