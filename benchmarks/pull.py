"""Pulling, against the tools that people use, in the same run.

nginx on loopback serves one large file and many small ones. Each candidate starts from nothing and
writes to the same disk. What verifies and what does not is in the table; peers that are not
installed are left out and named.
"""

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hub_metadata import serving_hub
from measure import in_turns, machine, wall_s

BIN = Path(sys.executable).parent
RAMALAMA = os.environ.get("RAMALAMA") or shutil.which("ramalama")
PORT = 18917
HF: list[Sequence[str | Path]] = [
    [BIN / "hf", "download", "--quiet", "bench/model"],
    [BIN / "hf", "cache", "verify", "bench/model"],
]
NGINX = """
daemon off; pid {root}/nginx.pid; error_log {root}/error.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  server {{ listen 127.0.0.1:{port}; root {root}/www; }}
}}
"""


def main() -> None:
    """Print a table for the large file and one for the small ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as scratch, _nginx(Path(scratch)):
        root = Path(scratch)
        print(f"{machine()}; median of {options.rounds}, in turns\n")
        for peer, path in (("aria2c", shutil.which("aria2c")), ("ramalama", RAMALAMA)):
            if path is None:
                print(f"{peer} is not installed and left out\n")
        _large(root, round(options.gib * 2**30), options.rounds)
        _small(root, options.files, options.rounds)


def _large(root: Path, size: int, rounds: int) -> None:
    sha256 = _write_random(root / "www" / "weights.gguf", size)
    url = f"http://127.0.0.1:{PORT}/weights.gguf"
    commands: dict[str, list[Sequence[str | Path]]] = {
        "nimctl pull (sha256)": [[BIN / "nimctl", "pull", "-q", f"{url}#sha256={sha256}"]],
        "curl (no check)": [["curl", "-sSfo", "{out}/weights.gguf", url]],
    }
    if shutil.which("aria2c"):
        check = f"--checksum=sha-256={sha256}"
        commands["aria2c -x8 (sha256)"] = [
            ["aria2c", "-q", "-x8", "-s8", check, "-d", "{out}", url]
        ]
    if RAMALAMA:
        commands["ramalama pull (no check)"] = [
            [RAMALAMA, "--store", "{out}", "--nocontainer", "pull", url]
        ]
    with serving_hub(root / "www", PORT, ["weights.gguf"], {"weights.gguf": sha256}) as hub:
        commands["hf download, hf cache verify (sha256)"] = HF
        _table(f"One file of {size / 2**30:g} GiB", root, commands, rounds, hub)
    (root / "www" / "weights.gguf").unlink()


def _small(root: Path, count: int, rounds: int) -> None:
    directory = root / "www" / "small"
    directory.mkdir()
    names = [f"small/{number:05}.bin" for number in range(count)]
    digests = {name: _write_random(root / "www" / name, 4096) for name in names}
    with serving_hub(root / "www", PORT, names, digests) as hub:
        commands: dict[str, list[Sequence[str | Path]]] = {
            "nimctl pull hf:// (sha256)": [[BIN / "nimctl", "pull", "-q", "hf://bench/model"]],
            "hf download (no check)": HF[:1],
        }
        _table(f"{count} files of 4 KiB", root, commands, rounds, hub)


def _table(
    title: str,
    root: Path,
    commands: dict[str, list[Sequence[str | Path]]],
    rounds: int,
    endpoint: str,
) -> None:
    candidates: dict[str, Callable[[], float]] = {
        name: partial(_timed, root, steps, endpoint) for name, steps in commands.items()
    }
    medians = in_turns(candidates, rounds)
    own = next(iter(medians.values()))
    print(f"{title}\n\n| command | seconds | nimctl is faster by |\n|---|---|---|")
    for name, seconds in medians.items():
        print(f"| {name} | {seconds:.2f} | {seconds / own:.2f} |")
    print(
        f"\nPeak memory of nimctl: {_peak_mib(root, next(iter(commands.values())), endpoint)} MiB\n"
    )
    missing = [
        name
        for name, there in (("aria2c", shutil.which("aria2c")), ("ramalama", RAMALAMA))
        if not there
    ]
    if missing:
        print(f"Not installed, left out: {', '.join(missing)}\n")


def _timed(root: Path, steps: list[Sequence[str | Path]], endpoint: str) -> float:
    with _fresh(root, endpoint) as (out, environ):

        def run() -> None:
            for step in steps:
                argv = [str(word).replace("{out}", str(out)) for word in step]
                subprocess.run(argv, check=True, env=environ, stdout=subprocess.DEVNULL)

        return wall_s(run)


def _peak_mib(root: Path, steps: list[Sequence[str | Path]], endpoint: str) -> int:
    with _fresh(root, endpoint) as (_, environ):
        child = subprocess.Popen(steps[0], env=environ, stdout=subprocess.DEVNULL)
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0
        return usage.ru_maxrss // 1024


@contextmanager
def _fresh(root: Path, endpoint: str) -> Iterator[tuple[Path, dict[str, str]]]:
    out = root / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    subprocess.run(["sync", "-f", out], check=True)
    environ = {
        "HOME": str(out),
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    yield out, environ
    shutil.rmtree(out, ignore_errors=True)


def _write_random(path: Path, size: int) -> str:
    generator = random.Random(str(path.name))  # noqa: S311 - test data, the same each time
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while size > 0:
            block = generator.randbytes(min(size, 2**24))
            file.write(block)
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


@contextmanager
def _nginx(root: Path) -> Iterator[None]:
    (root / "www").mkdir()
    root.chmod(0o755)
    (root / "nginx.conf").write_text(NGINX.format(root=root, port=PORT), encoding="utf-8")
    server = subprocess.Popen(["nginx", "-c", root / "nginx.conf", "-p", root])
    try:
        yield
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
