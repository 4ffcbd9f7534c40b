"""A stand-in for Docker's official `haproxy:lts`, made offline from the installed program."""

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from stand_in_image import add_file

REFERENCE = "haproxy:lts"
RECIPE = b"""FROM scratch
ADD root.tar /
ENV PATH=/usr/local/sbin:/usr/sbin
STOPSIGNAL SIGUSR1
USER haproxy
"""


def make_haproxy_image() -> None:
    """Import it with what the official image is known by: its user, and its STOPSIGNAL."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert program, "apt-get install haproxy"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in (program, *_libraries(program)):
            # Links are followed, so that each name that is looked for is a file.
            add_file(tar, path.lstrip("/"), Path(path).read_bytes(), mode=0o755)
        add_file(tar, "usr/local/sbin/haproxy", Path(program).read_bytes(), mode=0o755)
        add_file(tar, "etc/passwd", b"root:x:0:0::/:/bin/sh\nhaproxy:x:99:99::/:/bin/sh\n")
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        add_file(tar, "Dockerfile", RECIPE)
        add_file(tar, "root.tar", buffer.getvalue())
    argv = ["docker", "build", "--quiet", "--network", "none", "--tag", REFERENCE, "-"]
    subprocess.run(argv, input=context.getvalue(), check=True, capture_output=True)


def _libraries(program: str) -> list[str]:
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", told)
