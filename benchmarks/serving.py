"""Time until ready, against the engine started bare, in the same run.

The peer is llama.cpp itself: the same xllamacpp and the same engine file in the smallest Python
program that serves it. What nimctl adds is the difference.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import free_port, in_turns, is_healthy, machine

BIN = Path(sys.executable).parent
ROUNDS = 11
BARE = """
import sys, threading, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.hostnames, p.port = sys.argv[1], ["127.0.0.1"], int(sys.argv[2])
p.n_ctx, p.n_parallel, p.cpuparams.n_threads, p.cpuparams_batch.n_threads = 4096, 8, 1, 1
server = xllamacpp.Server(p)
threading.Event().wait()
"""


def main() -> None:
    """Print a table: median seconds until ready, and nimctl's own share."""
    with tempfile.TemporaryDirectory() as home:
        environ = {"HOME": home, "PATH": os.environ["PATH"]}
        built = _nimctl(environ, "build-engine", "capitals-demo", "--json")
        engine = Path(json.loads(built.stdout)["directory"]) / "model.gguf"
        own: list[float] = []
        medians = in_turns(
            {
                "xllamacpp, bare": lambda: _bare(engine),
                "nimctl serve": lambda: _serve(environ, own),
            },
            ROUNDS,
        )
    print(f"{machine()}; median of {ROUNDS}, in turns\n")
    print("| process start to ready | seconds |\n|---|---|")
    for name, figure in medians.items():
        print(f"| {name} | {figure:.3f} |")
    print(f"| of it nimctl's own (`--timings`) | {sorted(own)[len(own) // 2]:.3f} |")
    print(f"| ratio | {medians['nimctl serve'] / medians['xllamacpp, bare']:.2f} |")


def _serve(environ: dict[str, str], own: list[float]) -> float:
    began = time.monotonic()
    done = _nimctl(environ, "serve", "capitals-demo", "-d", "-p", "auto", "--timings")
    spent = time.monotonic() - began
    own += [
        float(line.split()[2])
        for line in done.stderr.splitlines()
        if line.startswith("timings: nimctl")
    ]
    _nimctl(environ, "stop", "--all")
    return spent


def _nimctl(environ: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "nimctl", *argv], env=environ, check=True, capture_output=True, text=True
    )


def _bare(engine: Path) -> float:
    port = free_port()
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-c", BARE, engine, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not is_healthy(port):
            time.sleep(0.01)
        return time.monotonic() - began
    finally:
        child.kill()
        child.wait()


if __name__ == "__main__":
    main()
