"""A Docker engine of its own that hands out GPUs which are not there.

The daemon takes GPU requests as soon as it finds NVIDIA's hook
(https://github.com/moby/moby/blob/v28.2.2/daemon/nvidia_linux.go); this one's hook does nothing,
so containers run, and are told their GPUs, without a driver.
"""

import shutil
import subprocess
import time
from pathlib import Path

HOOK = "nvidia-container-runtime-hook"
_PATIENCE_S = 60.0
# A new network namespace has a loopback that is down, where ports are published on.
_WITH_LOOPBACK = ("sh", "-c", 'ip link set lo up && exec "$@"', "sh")


class GpuEngine:
    """The daemon; `environment` leads clients to it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        # The path of a socket may have 107 bytes, and pytest's directories are long.
        self.url = f"unix://{directory}/d.sock"

    @property
    def environment(self) -> dict[str, str]:
        """What to add to a client's environment."""
        return {"DOCKER_HOST": self.url}

    @property
    def network(self) -> tuple[str, ...]:
        """What a command begins with that is to reach the ports that containers publish."""
        assert self._process is not None
        return ("nsenter", f"--net=/proc/{self._process.pid}/ns/net")

    def restart(self) -> None:
        """Stop it and start it again, with the containers that it keeps."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE_S)
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        hook = self._directory / "bin" / HOOK
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.write_text("#!/bin/sh\nexit 0\n")
        hook.chmod(0o755)
        runc = shutil.which("runc")
        assert runc, "apt-get install runc"
        daemon = shutil.which("dockerd")
        assert daemon, "apt-get install docker.io"
        path = f"{hook.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    # Without a bridge of its own it removes the machine's docker0, which other
                    # engines' containers are on: so it gets a network where there is none.
                    *("unshare", "--net", "env", f"PATH={path}", *_WITH_LOOPBACK),
                    *(daemon, "--host", self.url),
                    *("--data-root", str(self._directory / "data")),
                    *("--exec-root", str(self._directory / "exec")),
                    *("--pidfile", str(self._directory / "pid")),
                    *("--add-runtime", f"nvidia={runc}", "--bridge", "none", "--iptables=false"),
                ],
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + _PATIENCE_S
        while self.docker("info", check=False).returncode:
            assert self._process.poll() is None, (self._directory / "log").read_text()[-2000:]
            assert time.monotonic() < until, "the engine does not answer"
            time.sleep(0.1)

    def docker(
        self, *argv: str, check: bool = True, stdin: bytes | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run the docker command against it."""
        return subprocess.run(
            ["docker", "--host", self.url, *argv], input=stdin, capture_output=True, check=check
        )

    def stop(self) -> None:
        """Stop it, with its containers."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE_S)
        # What it mounted below its directory keeps pytest from removing that.
        shutil.rmtree(self._directory, ignore_errors=True)
