"""Images made offline from busybox that are named like the real ones and behave as told.

What a container does is said by its environment, so that one image serves all tests:

    STAND_IN        serve (default), or exit:N, hang, oom, fatal: what happens once it has started
    STAND_IN_LOG    lines to print first, split at `|`
    STAND_IN_DELAY  seconds until it listens, or ends
    STAND_IN_TICK   seconds between lines that it logs until then
    STAND_IN_CHAT   set: it has /v1/chat/completions only
    STAND_IN_NO_TOKEN  set: its engine fails
    STAND_IN_PORT   8000
"""

import io
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

SERVE = r"""#!/bin/sh
trap 'echo stopping; exit 0' TERM
echo "argv: $*"
if [ -n "$STAND_IN_LOG" ]; then echo "$STAND_IN_LOG" | tr '|' '\n'; fi
case "${STAND_IN:=serve}" in
  exit:*) sleep "${STAND_IN_DELAY:-0}"; echo "about to end"; exit "${STAND_IN#exit:}" ;;
  hang) while :; do sleep 0.1; done ;;
  oom) exec sh -c 'x=x; while :; do x="$x$x"; done' ;;
esac
if [ -n "$STAND_IN_TICK" ]; then
  (while :; do echo still loading; sleep "$STAND_IN_TICK"; done) & ticking=$!
fi
sleep "${STAND_IN_DELAY:-0}"
[ -n "$ticking" ] && kill "$ticking"
echo "listening on ${STAND_IN_PORT:-8000}"
nc -ll -p "${STAND_IN_PORT:-8000}" -e /bin/answer &
while kill -0 $!; do sleep 0.05; done
"""
# One request: status by path; the request's line goes to the log.
ANSWER = r"""#!/bin/sh
read -r method path version
length=0
key=none
while read -r name value && [ "$name" != "$(printf '\r')" ]; do
  case "$name" in
    [Cc]ontent-[Ll]ength:) length=$(printf %s "$value" | tr -d '\r') ;;
    [Aa]uthorization:) key=$(printf %s "$value" | tr -d '\r') ;;
  esac
done
[ "$length" -gt 0 ] && body=$(head -c "$length")
status="200 OK"
case "$path" in
  /v1/health/ready|/health) text='{"status":"ready"}' ;;
  /v1/models) text='{"data":[{"id":"stand-in"}]}' ;;
  /v1/completions|/v1/chat/completions)
    if [ -n "$STAND_IN_CHAT" ] && [ "$path" = /v1/completions ]; then
      status="404 Not Found"; text='{"error":"no such path"}'
    elif [ -e /run/secrets/api-key ] && [ "$key" != "Bearer $(cat /run/secrets/api-key)" ]; then
      status="401 Unauthorized"; text='{"error":"no key"}'
    elif [ -n "$STAND_IN_NO_TOKEN" ]; then status="500 Broken"; text='{"error":"no engine"}'
    else text='{"choices":[{"text":" Paris"}],"usage":{"completion_tokens":1}}'; fi ;;
  /metrics|/v1/metrics)
    text=$(cat /tmp/metrics 2>/dev/null ||
      printf 'num_requests_running 0\nnum_requests_waiting 0\n') ;;
  *) status="404 Not Found"; text='{"error":"no such path"}' ;;
esac
echo "$method $path $body" >/proc/1/fd/1 2>/dev/null
printf 'HTTP/1.1 %s\r\nContent-Length: %s\r\nConnection: close\r\n\r\n' "$status" "${#text}"
printf %s "$text"
"""
MANIFEST = b"schema_version: '2.0'\nprofiles: []\n"


@cache
def busybox() -> str:
    """The path of a static busybox."""
    found = shutil.which("busybox")
    assert found, "apt-get install busybox-static"
    return found


def _root(architecture: str, files: Mapping[str, bytes]) -> bytes:
    applets = subprocess.run([busybox(), "--list"], capture_output=True, check=True, text=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "tmp", "etc", "run", "opt", "opt/nim", "opt/nim/etc"):
            add_file(tar, name, b"", kind=tarfile.DIRTYPE, mode=0o777)
        if architecture == "amd64":
            tar.add(busybox(), "bin/busybox")
            add_file(tar, "bin/serve", SERVE.encode(), mode=0o755)
        else:
            # What the kernel says of another machine's program: exec format error.
            for name in ("bin/busybox", "bin/serve"):
                add_file(tar, name, b"\x7fELF\x02\x01\x01" + bytes(57), mode=0o755)
        for applet in applets.stdout.split():
            if applet != "busybox":
                add_link(tar, f"bin/{applet}", "busybox")
        add_file(tar, "bin/answer", ANSWER.encode(), mode=0o755)
        add_file(tar, "etc/passwd", b"root:x:0:0::/:/bin/sh\nnim:x:1000:1000::/tmp:/bin/sh\n")
        add_file(tar, "opt/nim/etc/real.yaml", MANIFEST)
        add_link(tar, "opt/nim/etc/manifest.yaml", "real.yaml")
        for path, data in files.items():
            add_file(tar, path.lstrip("/"), data)
    return buffer.getvalue()


def make_image(
    reference: str,
    *,
    architecture: str = "amd64",
    labels: dict[str, str],
    health: str | None = None,
    host: str | None = None,
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Import an image under this name; it runs `/bin/serve` as user 1000.

    `files` are there as well, by path. `host` is the engine's, if it is not the usual one.
    """
    changes = ['ENTRYPOINT ["/bin/serve"]', "ENV PATH=/bin", "USER 1000", "EXPOSE 8000"]
    changes += [f'LABEL {key}="{value}"' for key, value in labels.items()]
    if health:
        changes.append(f"HEALTHCHECK --interval=500ms --retries=1 CMD {health}")
    argv = [
        "docker",
        *(["--host", host] if host else []),
        "import",
        "--platform",
        f"linux/{architecture}",
    ]
    for change in changes:
        argv += ["--change", change]
    subprocess.run(
        [*argv, "-", reference], input=_root(architecture, files), check=True, capture_output=True
    )


def add_file(
    tar: tarfile.TarFile,
    name: str,
    data: bytes,
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size = kind, mode, len(data)
    tar.addfile(member, io.BytesIO(data))


def add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    tar.addfile(member)
