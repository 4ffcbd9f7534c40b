"""A plan as a shell script that a person can run: what `--dry-run` prints.

The script lays the files out in the model store itself, where nimctl would link them from its
blobs, so that it needs nothing but a shell, curl, sha256sum and this Python.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias, assert_never
from urllib.parse import unquote, urlsplit

from nimctl.cli.build_lines import build_lines
from nimctl.cli.units import size
from nimctl.cli.warm_up_lines import first_start, with_kernels
from nimctl.cli.workspace_shell import directories, filling, held
from nimctl.core.containers import OFFLINE_NETWORKS
from nimctl.core.docker_run import offline_network_lines, printed
from nimctl.core.facts import File
from nimctl.core.layout import Layout, engine_directory
from nimctl.core.plan import (
    Adopt,
    Assemble,
    Attach,
    Await,
    Build,
    Configure,
    Fetch,
    FillCache,
    FillStore,
    Launch,
    LaunchContainer,
    Plan,
    PullImage,
    Replace,
    WarmUp,
    Write,
    labelled,
)
from nimctl.core.planned import PLANNED
from nimctl.core.refs import ModelRef
from nimctl.core.router import SOCKET, haproxy_config

# Not as an argument, which every process of the machine could read. To another host curl does not
# take it along: https://curl.se/docs/CVE-2018-1000007.html
_HF_HEADER = (
    """hf_token() { test -z "$HF_TOKEN" || printf 'Authorization: Bearer %s\\n' "$HF_TOKEN"; }"""
)

_Common: TypeAlias = (
    Fetch
    | Assemble
    | Build
    | Attach
    | Adopt
    | PullImage
    | Write
    | Configure
    | Launch
    | LaunchContainer
    | Await
)


def script(plan: Plan, python: str, layout: Layout) -> Iterator[str]:
    """The lines of the script; files of a plain pull go to the current directory."""
    yield "set -e"
    directory = next((s.directory for s in plan.steps if isinstance(s, Assemble)), ".")
    rooms = directories(plan)
    for note in plan.notes:
        yield f"# {note}"
    for planned in plan.steps:
        step = with_kernels(planned, layout)
        if isinstance(step, Fetch) and step.reference in rooms:
            yield from _fetches(step, rooms[step.reference])
            yield from held(step, rooms[step.reference], layout)
        elif isinstance(step, FillCache | FillStore):
            yield from filling(step, rooms)
        elif isinstance(step, Replace):
            yield from _replacement(step, layout, python)
        elif isinstance(step, WarmUp):
            yield from first_start(step, _container(step.launch))
        else:
            yield from _lines(step, directory, python)


def _lines(step: _Common, directory: str, python: str) -> Iterator[str]:
    match step:
        case Fetch():
            yield from _fetches(step, directory)
        case Assemble():
            yield from _links(step)
        case Attach() | Adopt():
            yield from _engine(step, directory)
        case Build():
            yield from build_lines(step, python)
        case PullImage():
            yield _command("docker", "pull", "--platform", step.platform, step.image)
        case Write() | Configure():
            yield from _files(step)
        case Launch():
            yield f"# launch {step.server.name}"
            yield _command(*step.argv) + (" &" if step.detach else "")
        case LaunchContainer():
            yield from _container(step)
        case Await():
            address = step.server.url + step.server.health_path
            yield f"# ready when this answers: curl --fail {address}"
        case _:
            assert_never(step)


def _replacement(step: Replace, layout: Layout, python: str) -> Iterator[str]:
    name, group = step.launch.server.name, step.launch.server.group or ""
    # The Python that is there anyway, as no shell connects to such a socket by itself.
    asked = _command(python, "-c", _ASK, str(layout.router(group)))
    row = f"ask 'show stat' | grep '^replicas,{name},'"
    yield f"# replace {name}"
    yield f'ask() {{ {asked} "$1"; }}'
    yield f"ask 'set server replicas/{name} state drain'"
    yield "# requests that wait, and those it has"
    yield f'until [ "$({row} | cut -d, -f3,5)" = 0,0 ]; do sleep 1; done'
    yield _command("docker", "stop", name)
    yield _command("docker", "rename", name, f"{name}.old")
    yield from _container(step.launch)
    back = f"docker rename {name}.old {name}; docker start {name}"
    yield f"# if it does not get ready: docker rm --force {name}; {back}"
    answers = _command("curl", "--fail", step.launch.server.url + step.launch.server.health_path)
    yield f"until {answers} >/dev/null 2>&1; do sleep 1; done"
    yield f"ask 'set server replicas/{name} state ready'"
    yield f"until {row} | grep -q ,UP,; do sleep 1; done"
    yield _command("docker", "rm", f"{name}.old")


# From its directory, as the path of a socket has 107 bytes at most.
_ASK = (
    "import os, socket, sys; os.chdir(sys.argv[1]); s = socket.socket(socket.AF_UNIX);"
    f' s.connect("{SOCKET}"); s.sendall(sys.argv[2].encode() + b"\\n");'
    " sys.stdout.write(s.makefile().read())"
)


def _files(step: Write | Configure) -> Iterator[str]:
    if isinstance(step, Write):
        yield _command("mkdir", "-p", str(Path(step.path).parent))
        yield from _written(step.path, step.text)
        return
    router = step.router
    yield f"# configure the router of {router.name}"
    yield _command("mkdir", "-p", "-m", "700", router.directory)
    if step.generate_api_key and step.api_key_file:
        yield from _new_key(step.api_key_file)
    if step.api_key_file:
        keys, hashes = shlex.quote(step.api_key_file), shlex.quote(router.hashes_file)
        each = "printf %s \"$key\" | sha256sum | cut -d' ' -f1"
        yield f"for key in $(cat {keys}); do {each}; done > {hashes}"
    yield from _written(router.config_file, haproxy_config(router))


def _written(path: str, text: str) -> Iterator[str]:
    yield f"cat > {shlex.quote(path)} <<'END'"
    yield text.rstrip()
    yield "END"


def _new_key(path: str) -> Iterator[str]:
    yield f"mkdir -p $(dirname {shlex.quote(path)})"
    yield f"(umask 077; head -c 32 /dev/urandom | base64 > {shlex.quote(path)})"


def _links(step: Assemble) -> Iterator[str]:
    if step.links:
        yield f"# lay out what the store has of {step.reference}"
    made = None
    for path, blob in sorted(step.links.items()):
        target = str(Path(step.directory) / path)
        if made != (made := str(Path(target).parent)):
            yield _command("mkdir", "-p", made)
        yield f"test -e {shlex.quote(target)} || {_command('ln', blob, target)}"
    for path in step.directories:
        yield _command("mkdir", "-p", str(Path(step.directory) / path))


def _engine(step: Attach | Adopt, directory: str) -> Iterator[str]:
    if isinstance(step, Attach):
        yield from _attached(step)
    else:
        yield from _adopted(step, directory)


def _attached(step: Attach) -> Iterator[str]:
    if step.engine is None:
        return  # the step before has put it where it belongs
    target = str(Path(step.directory) / engine_directory(step.recipe.backend))
    yield "# attach the engine that the store has"
    yield _command("mkdir", "-p", step.directory)
    copy = _command("cp", "--recursive", "--link", step.engine, target)
    yield f"test -e {shlex.quote(target)} || {copy}"


def _adopted(step: Adopt, directory: str) -> Iterator[str]:
    yield f"# take over the engine in {step.reference}: its {len(step.files)} files as they are"
    if directory == ".":
        return  # it is for nothing here to serve
    inside = Path(directory) / engine_directory(step.recipe.backend)
    for name, path in sorted(step.files.items()):
        source, target = step.links.get(path, str(Path(directory) / path)), str(inside / name)
        if source != target:
            yield _command("mkdir", "-p", str(Path(target).parent))
            yield f"test -e {shlex.quote(target)} || {_command('ln', source, target)}"


def _container(step: LaunchContainer) -> Iterator[str]:
    yield f"# launch {step.server.name}"
    spec = labelled(step)
    for mount in spec.mounts:
        if not mount.read_only:
            yield _command("mkdir", "-p", mount.source)
    if step.registry_key_file:
        yield f"# put your NGC key into {step.registry_key_file}, readable by you only"
    if step.generate_api_key and step.server.api_key_file:
        yield from _new_key(step.server.api_key_file)
    if spec.network in OFFLINE_NETWORKS:
        yield from offline_network_lines(spec.network)
    if spec.devices and any(PLANNED in uuid for uuid in spec.devices.uuids):
        yield f"# for …{PLANNED}N put a GPU's UUID, as `nvidia-smi -L` there lists them"
    yield printed(spec)


def _fetches(step: Fetch, directory: str) -> Iterator[str]:
    total = size(sum(file.size or 0 for file in step.missing))
    if any(file.size is None for file in step.missing):
        total = f"at least {total}"
    count = len(step.missing)
    yield f"# fetch {count} {'file' if count == 1 else 'files'}, {total}: {step.reference}"
    if any(_is_on_hub(file, step) for file in step.missing):
        yield _HF_HEADER
    for file in step.missing:
        key = "hf_token | " if _is_on_hub(file, step) else ""
        yield from _fetch(file, _target(directory, file.path), key)
    for archive in step.unpack:
        yield from _unpack(_target(directory, archive), directory)


def _is_on_hub(file: File, step: Fetch) -> bool:
    """Whether a token for the Hub belongs there; a mirror gets none."""
    ref, path = ModelRef.parse(step.reference), urlsplit(file.url).path
    on_mirror = f"/hf/{ref.path}/" in path
    return ref.scheme == "hf" and f"/{ref.path}/resolve/" in path and not on_mirror


def _target(directory: str, path: str) -> str:
    """Where a file goes; no program takes it for an option."""
    target = str(Path(directory) / path)
    return f"./{target}" if target.startswith("-") else target


def _fetch(file: File, target: str, key: str) -> Iterator[str]:
    """Lines for one file; `key` writes the header that opens the registry, before a pipe."""
    parts = urlsplit(file.url)
    if parts.scheme == "file":
        yield _command("install", "-D", "-m", "644", unquote(parts.path), target)
    elif parts.scheme == "s3":
        yield _command("aws", "s3", "cp", f"s3://{parts.netloc}{unquote(parts.path)}", target)
    else:
        header = ("--header", "@-") if key else ()
        options = ("--fail", "--location", *header, "--create-dirs", "--output", target)
        yield key + _command("curl", *options, file.url)
    if file.sha256:
        yield f"echo {shlex.quote(f'{file.sha256}  {target}')} | sha256sum --check --quiet"


def _unpack(archive: str, directory: str) -> Iterator[str]:
    if archive.lower().endswith(".zip"):
        yield _command("unzip", "-q", "-d", directory, archive)
    else:
        yield _command("tar", "-C", directory, "-xf", archive)
    yield _command("rm", archive)


def _command(*words: str) -> str:
    return shlex.join(words)
