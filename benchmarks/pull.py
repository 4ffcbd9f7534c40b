"""Pulling, against the tools that people use, in the same run.

nginx on loopback serves a large file, an archive and many small files. Each candidate starts from
nothing and writes to the same disk; all run in turns. What checks the bytes and what does not is in
the tables, which are those of docs/explanation/performance.md. Peers that are not installed are
left out and named; RAMALAMA may name a ramalama.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

from measure import in_turns, machine, wall_s
from pull_data import write_noise, write_tarball
from pull_site import MODEL, Site

BIN = Path(sys.executable).parent
NIMCTL = BIN / "nimctl"
HF = BIN / "hf"
RAMALAMA = os.environ.get("RAMALAMA") or shutil.which("ramalama")
ARIA2C = shutil.which("aria2c")
MIB, GIB = 2**20, 2**30

Steps: TypeAlias = Sequence[Sequence[str | Path]]
Candidates: TypeAlias = dict[str, Steps]


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0, help="size of the large file")
    parser.add_argument("--tar-gib", type=float, default=1.0, help="size of the archive")
    parser.add_argument("--files", type=int, default=5000, help="number of small files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=CASES, action="append", help="only these cases")
    parser.add_argument("--directory", type=Path, default=None, help="where to work")
    options = parser.parse_args()
    print(f"{machine()}; median of {options.rounds}, in turns\n")
    missing = [name for name, path in (("aria2c", ARIA2C), ("ramalama", RAMALAMA)) if not path]
    if missing:
        print(f"Not installed, left out: {', '.join(missing)}\n")
    for case in options.only or CASES:
        with tempfile.TemporaryDirectory(dir=options.directory) as scratch:
            CASES[case](Site(Path(scratch)), options)


def _large(site: Site, options: argparse.Namespace) -> None:
    size = round(options.gib * GIB)
    sha256 = write_noise(site.files / "weights.gguf", size)
    site.publish(large={"weights.gguf": sha256})
    candidates = _of_one_file(site.url("weights.gguf"), sha256)
    candidates["hf download, hf cache verify (sha256)"] = [
        [HF, "download", "--quiet", MODEL],
        [HF, "cache", "verify", MODEL],
    ]
    _table(f"One file of {options.gib:g} GiB", site, candidates, options.rounds)


def _tls(site: Site, options: argparse.Namespace) -> None:
    size = round(options.gib * GIB)
    sha256 = write_noise(site.files / "weights.gguf", size)
    site.publish(large={})
    candidates = _of_one_file(site.tls_url("weights.gguf"), sha256)
    _table(f"One file of {options.gib:g} GiB over TLS", site, candidates, options.rounds)


def _middling(site: Site, options: argparse.Namespace) -> None:
    size = 400 * MIB
    sha256 = write_noise(site.files / "weights.gguf", size)
    site.publish(large={"weights.gguf": sha256})
    candidates = _of_one_file(site.url("weights.gguf"), sha256)
    _table("One file of 400 MiB", site, candidates, options.rounds)


def _archive(site: Site, options: argparse.Namespace) -> None:
    path = site.files / "model.tar.gz"
    sha256 = write_tarball(path, round(options.tar_gib * GIB))
    site.publish(large={})
    url = site.url(path.name)
    sums = site.root / "SHA256SUMS"
    sums.write_text(f"{sha256}  model.tar.gz\n", encoding="utf-8")
    unpack: Steps = [
        _curl(url),
        ["sh", "-c", f"cd {{out}} && sha256sum --quiet -c {sums}"],
        ["tar", "-xzf", "{out}/model.tar.gz", "-C", "{out}"],
    ]
    candidates: Candidates = {
        "nimctl pull (sha256 of the archive and of each file)": [
            [NIMCTL, "pull", "-q", f"{url}#sha256={sha256}"]
        ],
        "curl, sha256sum, tar -xzf": unpack,
    }
    title = f"A tar.gz of {path.stat().st_size / GIB:.2f} GiB to files"
    _table(title, site, candidates, options.rounds)


def _small(site: Site, options: argparse.Namespace) -> None:
    names = [f"small/{number:05}.json" for number in range(options.files)]
    (site.files / "small").mkdir()
    for name in names:
        write_noise(site.files / name, 4096)
    site.publish(large={}, small=names)
    candidates: Candidates = {
        "nimctl pull hf:// (git-sha1)": [[NIMCTL, "pull", "-q", f"hf://{MODEL}"]],
        "hf download (no check)": [[HF, "download", "--quiet", MODEL]],
    }
    _table(f"{options.files:,} files of 4 KiB", site, candidates, options.rounds)


CASES = {
    "large": _large,
    "tls": _tls,
    "middling": _middling,
    "archive": _archive,
    "small": _small,
}


def _curl(url: str) -> Sequence[str | Path]:
    return ["curl", "-sSf", "-o", f"{{out}}/{url.rpartition('/')[2]}", url]


def _of_one_file(url: str, sha256: str) -> Candidates:
    candidates: Candidates = {
        "nimctl pull (sha256)": [[NIMCTL, "pull", "-q", f"{url}#sha256={sha256}"]],
        "curl (no check)": [_curl(url)],
    }
    if ARIA2C:
        check = f"--checksum=sha-256={sha256}"
        aria2c = [ARIA2C, "-q", "-x8", "-s8", "--ca-certificate={authority}", check]
        candidates["aria2c -x8 (sha256)"] = [[*aria2c, "-d", "{out}", url]]
    if RAMALAMA:
        ramalama = [RAMALAMA, "--store", "{out}", "--nocontainer", "pull", url]
        candidates["ramalama pull (no check)"] = [ramalama]
    return candidates


def _table(title: str, site: Site, candidates: Candidates, rounds: int) -> None:
    with site.served():
        medians = in_turns(
            {name: partial(_timed, site, steps) for name, steps in candidates.items()}, rounds
        )
        peak_mib = _peak_mib(site, next(iter(candidates.values())))
    own = next(iter(medians.values()))
    print(f"{title}:\n\n| command | seconds | nimctl is faster by |\n|---|---|---|")
    for name, seconds in medians.items():
        print(f"| {name} | {seconds:.2f} | {seconds / own:.2f} |")
    print(f"\nPeak memory of nimctl: {peak_mib} MiB\n", flush=True)


def _timed(site: Site, steps: Steps) -> float:
    with _fresh(site) as (out, environ):

        def run() -> None:
            for step in steps:
                argv = [_filled_in(str(word), site, out) for word in step]
                subprocess.run(argv, check=True, env=environ, stdout=subprocess.DEVNULL)

        return wall_s(run)


def _filled_in(word: str, site: Site, out: Path) -> str:
    return word.replace("{out}", str(out)).replace("{authority}", str(site.authority))


def _peak_mib(site: Site, steps: Steps) -> int:
    with _fresh(site) as (_, environ):
        child = subprocess.Popen(steps[0], env=environ, stdout=subprocess.DEVNULL)
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0
        return usage.ru_maxrss // 1024


@contextmanager
def _fresh(site: Site) -> Iterator[tuple[Path, Mapping[str, str]]]:
    out = site.root / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    subprocess.run(["sync", "-f", out], check=True)
    environ = {
        "HOME": str(out),
        "PATH": os.environ["PATH"],
        "SSL_CERT_FILE": str(site.authority),
        "HF_ENDPOINT": site.endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    yield out, environ
    shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()
