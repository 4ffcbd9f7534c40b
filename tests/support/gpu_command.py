"""The command line on a machine whose Docker engine hands out GPUs, in that engine's network."""

import json
import subprocess
import sys
from typing import Any

from conftest import Result
from gpu_engine import GpuEngine

from nimctl.core.trtllm.releases import BUILDER_IMAGE


class Nimctl:
    """The command line on that machine."""

    def __init__(self, environ: dict[str, str], engine: GpuEngine) -> None:
        self._environ, self._engine = environ, engine

    def start(self, *argv: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self._engine.network, sys.executable, "-m", "nimctl", *argv],
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *argv: str) -> Result:
        child = self.start(*argv)
        try:
            out, err = child.communicate(timeout=60)
        finally:
            child.kill()
        return Result(child.returncode, out, err)

    def containers(self) -> list[str]:
        return self._engine.docker("ps", "--all", "--quiet").stdout.decode().split()

    def inspected(self) -> dict[str, Any]:
        """The only container that there is, as the engine has it."""
        (one,) = self.containers()
        (found,) = json.loads(self._engine.docker("inspect", one).stdout)
        return dict(found)

    def refuses_memlock(self) -> bool:
        """Whether the engine may not lift that limit, as in a container or without root."""
        argv = ("run", "--rm", "--ulimit", "memlock=-1:-1", BUILDER_IMAGE, "true")
        return self._engine.docker(*argv, check=False).returncode != 0

    def log(self, name: str) -> str:
        return self._engine.docker("logs", name).stdout.decode()
