"""Serving from a container, against `docker run` of the same container, in the same run.

The image is that of tools/cpu_image. `docker run` is given the very line that `nimctl serve
--dry-run` prints. The crash is an image whose server ends after a second: what counts is the time
from its end to the word about it; ramalama is asked the same where it is installed (RAMALAMA names
its program).
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from measure import free_port, in_turns, is_healthy, machine, wall_s

BIN = Path(sys.executable).parent
NAME = "nimctl-benchmark"
CRASH = "nimctl/benchmark-crash:latest"
CRASH_S = 1.0
SERVER = "/opt/nimctl/site/nimctl/serving/llama_server/__main__.py"
CRASHING = f"""FROM nimctl/llama-cpp:latest
USER root
RUN echo 'import sys, time; time.sleep({CRASH_S}); sys.exit("error: no such tensor")' > {SERVER}
USER 1000:1000
"""
RAMALAMA = os.environ.get("RAMALAMA")


def main() -> None:
    """Print a table for the time until ready, and one for the time until a crash is told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as home:
        environ = {"HOME": home, "PATH": os.environ["PATH"]}
        _run(environ, BIN / "nimctl", "build-engine", "capitals-demo")
        print(f"{machine()}; median of {rounds}, in turns\n")
        _ready(environ, rounds)
        _crash(environ, rounds)


def _ready(environ: dict[str, str], rounds: int) -> None:
    medians = in_turns(
        {
            "docker run": lambda: _docker_run(environ),
            "nimctl serve": lambda: _serve(environ),
        },
        rounds,
    )
    print("| command to ready | seconds |\n|---|---|")
    for name, figure in medians.items():
        print(f"| {name} | {figure:.3f} |")
    added = medians["nimctl serve"] - medians["docker run"]
    print(f"| nimctl adds | {added:.3f} |\n")


def _docker_run(environ: dict[str, str]) -> float:
    port = free_port()
    printed = _run(environ, *_serve_argv(port), "--dry-run").splitlines()
    last = next(at for at, line in enumerate(printed) if line.startswith("docker run"))
    _run(environ, "sh", "-c", "\n".join(printed[:last]))
    began = time.monotonic()
    _run(environ, *shlex.split(printed[last]))
    while not is_healthy(port):
        time.sleep(0.01)
    spent = time.monotonic() - began
    _run(environ, "docker", "rm", "--force", NAME)
    return spent


def _serve(environ: dict[str, str]) -> float:
    port = free_port()
    spent = wall_s(lambda: _run(environ, *_serve_argv(port), "--detach"))
    _run(environ, "docker", "rm", "--force", NAME)
    return spent


def _serve_argv(port: int) -> tuple[str | Path, ...]:
    words = ("serve", "capitals-demo", "--container", "--name", NAME, "--wait", "ready")
    return (BIN / "nimctl", *words, "--port", str(port))


def _crash(environ: dict[str, str], rounds: int) -> None:
    build = ["docker", "build", "--quiet", "--tag", CRASH, "-"]
    subprocess.run(build, input=CRASHING.encode(), check=True, capture_output=True)
    engine = next(Path(environ["HOME"]).rglob("model.gguf"))
    candidates: dict[str, Callable[[], float]] = {"nimctl serve -d": lambda: _told(environ)}
    medians = in_turns(candidates, rounds)
    if RAMALAMA:
        # Three minutes a time: once is enough.
        medians |= in_turns({"ramalama serve -d": lambda: _ramalama(environ, engine)}, 1)
    print("| a server ends while it starts | seconds until it is told |\n|---|---|")
    for name, figure in medians.items():
        print(f"| {name} | {figure:.2f} |")
    _run(environ, "docker", "rmi", "--force", CRASH)


def _told(environ: dict[str, str]) -> float:
    argv = [*_serve_argv(free_port()), "--detach", "--image", CRASH]
    spent = _failing(environ, argv, expect="no such tensor")
    _run(environ, "docker", "rm", "--force", NAME)
    return spent


def _ramalama(environ: dict[str, str], engine: Path) -> float:
    argv = [RAMALAMA or "", "--engine", "docker", "serve", "--image", CRASH, "--pull", "never"]
    argv += ["--detach", "--name", NAME, "--port", str(free_port()), f"file://{engine}"]
    return _failing(environ, argv, expect=None)


def _failing(environ: dict[str, str], argv: Sequence[str | Path], *, expect: str | None) -> float:
    """Seconds from the container's end to the command's."""
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    told = time.time()
    if expect and (done.returncode == 0 or expect not in done.stderr):
        raise SystemExit(f"unexpected: {done}")
    inspected = subprocess.run(
        ["docker", "inspect", "--format", "{{json .State.FinishedAt}}", NAME],
        capture_output=True,
        text=True,
        check=False,
    )
    if inspected.returncode:
        raise SystemExit(f"the container is gone: {done}")
    return told - _epoch(json.loads(inspected.stdout))


def _epoch(text: str) -> float:
    # Nanoseconds are more than Python reads.
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", text)).timestamp()


def _run(environ: dict[str, str], *argv: str | Path) -> str:
    done = subprocess.run(argv, env=environ, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{argv}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
