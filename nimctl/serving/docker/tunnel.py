"""An engine behind ssh: the user's own ssh forwards its socket, as ~/.ssh/config says."""

import contextlib
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from nimctl.core.errors import ContainerEngineError

_CONNECT_S = 15.0
_REMOTE_SOCKET = "/var/run/docker.sock"


class Tunnel:
    """A socket on this machine that leads to an engine's on another; closed with `close`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._directory = tempfile.TemporaryDirectory(prefix="nimctl-ssh-")
        self.socket = Path(self._directory.name) / "engine.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> str:
        """Start ssh; returns the URL of the near end.

        Raises:
            ContainerEngineError: ssh is not installed, or cannot get there.
        """
        errors = Path(self._directory.name) / "errors"
        with errors.open("wb") as stderr:
            try:
                self._process = subprocess.Popen(
                    self._argv(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    # The terminal's Ctrl-C is nimctl's to handle: it still needs the engine.
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                self.close()
                raise ContainerEngineError(
                    f"{self._url} needs the ssh command",
                    cause="ssh is not installed",
                    hint="apt-get install openssh-client",
                ) from error
        deadline = time.monotonic() + _CONNECT_S
        while not self.socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = errors.read_text(encoding="utf-8", errors="replace").strip()
                self.close()
                raise ContainerEngineError(
                    f"the container engine at {self._url} cannot be reached",
                    cause=said.splitlines()[-1] if said else f"no connection in {_CONNECT_S:g} s",
                    hint=f"ssh {urlsplit(self._url).netloc} docker version",
                )
            time.sleep(0.02)
        return f"unix://{self.socket}"

    def _argv(self) -> list[str]:
        parts = urlsplit(self._url)
        argv = [
            "ssh",
            "-nNT",
            "-o",
            "ExitOnForwardFailure=yes",
            "-o",
            "ConnectTimeout=10",
            "-o",
            "BatchMode=yes",
        ]
        if parts.port:
            argv += ["-p", str(parts.port)]
        if parts.username:
            argv += ["-l", parts.username]
        remote = parts.path if parts.path not in ("", "/") else _REMOTE_SOCKET
        return [*argv, "-L", f"{self.socket}:{remote}", "--", parts.hostname or ""]

    def close(self) -> None:
        """End ssh and remove the socket."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            if self._process.returncode is None:
                self._process.kill()
                self._process.wait()
        self._directory.cleanup()
