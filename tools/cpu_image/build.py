"""Make the container image of the CPU backend, in seconds and without pulling a base image.

The base is a handful of Debian packages, unpacked; on it lie the embedded server's own modules and
the xllamacpp of the Python that runs this script, stripped. Needs Debian or Ubuntu (apt-get,
dpkg-deb), strip, docker, and nimctl installed with the extra `cpu`.
"""

import argparse
import importlib.util
import io
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import nimctl

HERE = Path(__file__).parent
PACKAGE = Path(nimctl.__file__).parent
# What CPython's own modules and xllamacpp load; the interpreter's packages are added by version.
LIBRARIES = (
    *("base-files", "libc6", "libgcc-s1", "libstdc++6", "libgomp1", "zlib1g", "libexpat1"),
    *("libffi8", "libssl3", "liblzma5", "libbz2-1.0", "libcrypt1", "busybox-static"),
)
# A slim base has neither; xllamacpp's wheel carries neither.
CARRIED = ("libgomp.so.1", "libstdc++.so.6", "libgcc_s.so.1")
KEPT = Path.home() / ".cache" / "nimctl-cpu-image"


def main() -> None:
    """Build and tag the image; print its name and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", help="build on this image instead of making one")
    parser.add_argument("--tag", default="nimctl/llama-cpp:latest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        for package in download(packages()):
            unpack(package, tree)
        context = Path(scratch) / "context"
        fill(context, tree)
        base = options.base or import_base(tree)
        version = f"nimctl/llama-cpp:{nimctl.__version__}"
        run("docker", "build", "--quiet", "--network", "none", "--build-arg", f"BASE={base}",
            "--tag", options.tag, "--tag", version, str(context))  # fmt: skip
    size = run("docker", "image", "inspect", "--format", "{{.Size}}", options.tag)
    print(f"{options.tag}: {int(size) / 1e6:.0f} MB")


def packages() -> Iterator[str]:
    """The packages of the base, with the names that this release has for them."""
    depends = run("apt-cache", "depends", "python3-minimal")
    python = re.search(r"(python3\.\d+)-minimal", depends)
    if python is None:
        raise SystemExit("error: apt knows no python3-minimal\nhint: apt-get update")
    yield from (f"{python[1]}-minimal", f"lib{python[1]}-minimal", f"lib{python[1]}-stdlib")
    known = set(run("apt-cache", "pkgnames").split())
    for name in LIBRARIES:
        # Debian 13 and Ubuntu 24.04 renamed libraries for 64-bit time.
        found = next((one for one in (name, f"{name}t64") if one in known), None)
        if found is None:
            raise SystemExit(f"error: apt knows no {name}\nhint: apt-get update")
        yield found


def download(names: Iterable[str]) -> list[Path]:
    """Fetch packages; what was fetched before is kept."""
    KEPT.mkdir(parents=True, exist_ok=True)
    wanted = list(names)
    run("apt-get", "--quiet=2", "download", *wanted, cwd=KEPT)
    return [newest(KEPT.glob(f"{name}_*.deb")) for name in wanted]


def newest(paths: Iterable[Path]) -> Path:
    """The package that apt fetched last, of those with one name."""
    return max(paths, key=lambda path: path.stat().st_mtime)


def unpack(package: Path, tree: Path) -> None:
    """Lay a package's files into a tree with merged /usr, as Debian has it."""
    data = run_bytes("dpkg-deb", "--fsys-tarfile", str(package))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            name = re.sub(r"^\./(bin|sbin|lib|lib64)(/|$)", r"./usr/\1\2", member.name)
            if name.startswith(("./usr/share/doc", "./usr/share/man", "./usr/share/locale")):
                continue
            member.name = name
            archive.extract(member, tree, filter="tar")


def import_base(tree: Path) -> str:
    """Make the base image of a tree."""
    (version,) = (path.name for path in (tree / "usr" / "bin").glob("python3.*"))
    for link, target in (
        *((name, f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64")),
        ("usr/bin/python3", version),
        *(("usr/bin/" + name, "busybox") for name in ("sh", "ls", "cat", "ps", "wget")),
    ):
        path = tree / link
        if not path.is_symlink() and not path.exists():
            path.symlink_to(target)
    etc = tree / "etc"
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\nnimctl:x:1000:1000::/tmp:/bin/sh\n")
    (etc / "group").write_text("root:x:0:\nnimctl:x:1000:\n")
    for name in ("tmp", "proc", "sys", "dev", "run"):
        (tree / name).mkdir(exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    (tree / "run" / "secrets").mkdir(exist_ok=True)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(tree.rglob("*")):
            archive.add(path, path.relative_to(tree), recursive=False, filter=anonymous)
    subprocess.run(
        ["docker", "import", "-", "nimctl/base:latest"],
        input=packed.getvalue(), check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return "nimctl/base:latest"


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same bytes for the same files, whoever packs them and when."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return member


def fill(context: Path, tree: Path) -> None:
    """Lay out what the Dockerfile copies: modules, libraries, the engine."""
    site, lib = context / "nimctl" / "site", context / "nimctl" / "lib"
    ignore = shutil.ignore_patterns("__pycache__")
    server = Path("serving") / "llama_server"
    shutil.copytree(PACKAGE / server, site / "nimctl" / server, ignore=ignore)
    for module in ("__init__.py", "serving/__init__.py"):
        shutil.copy(PACKAGE / module, site / "nimctl" / module)
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        raise SystemExit("error: xllamacpp is not installed\nhint: pip install 'nimctl[cpu]'")
    engine = Path(spec.origin).parent
    shutil.copytree(engine, site / "xllamacpp", ignore=ignore)
    for bundled in engine.parent.glob("xllamacpp.libs"):
        shutil.copytree(bundled, site / bundled.name)
    for binary in (site / "xllamacpp").glob("*.so"):
        run("strip", "--strip-unneeded", str(binary))
    lib.mkdir(parents=True)
    for name in CARRIED:
        (library,) = (tree / "usr" / "lib").glob(f"{platform.machine()}-linux-gnu/{name}")
        shutil.copy(library.resolve(), lib / name)
    shutil.copy(HERE / "Dockerfile", context / "Dockerfile")


def run(*argv: str, cwd: Path | None = None) -> str:
    """What a program prints."""
    return run_bytes(*argv, cwd=cwd).decode()


def run_bytes(*argv: str, cwd: Path | None = None) -> bytes:
    """What a program writes; what it complains of is shown only when it fails."""
    try:
        done = subprocess.run(argv, capture_output=True, check=False, cwd=cwd)
    except FileNotFoundError as error:
        raise SystemExit(f"error: {argv[0]} is not installed") from error
    if done.returncode:
        words = " ".join(argv[:3])
        raise SystemExit(f"{done.stderr.decode()}error: {words} ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
