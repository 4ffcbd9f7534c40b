"""nginx as a real process on loopback, serving a directory."""

import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

_START_TIMEOUT_S = 20
_CONFIG = """
user root; daemon off; pid {root}/nginx.pid; error_log {root}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  server {{ listen 127.0.0.1:{port}; root {served}; }}
}}
"""


class Nginx:
    """The process; a context manager. It serves `served`, its own files are in `root`."""

    def __init__(self, root: Path, served: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._config = root / "nginx.conf"
        self._config.write_text(_CONFIG.format(root=root, served=served, port=self._port))

    @property
    def url(self) -> str:
        """The URL of the directory."""
        return f"http://127.0.0.1:{self._port}/"

    def __enter__(self) -> Self:
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/bin")
        if program is None:
            pytest.skip("there is no nginx: apt-get install nginx-light")
        command = [program, "-e", "stderr", "-c", str(self._config)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.__exit__()
                raise RuntimeError("nginx did not start")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
            return True
        return False
