"""The ORAS client (https://github.com/oras-project/oras-py), unmodified, as a process."""

import json
import os
import subprocess
import sys

import pytest
from registry_daemon import RegistryDaemon

ORAS_PUSH = """
import json, sys
import oras.client
host, target, files, user, password = json.loads(sys.argv[1])
backend = "basic" if user else "token"
client = oras.client.OrasClient(hostname=host, insecure=True, auth_backend=backend)
if user:
    client.auth.set_basic_auth(user, password)
client.push(target=target, files=files, disable_path_validation=True, quiet=True)
"""


@pytest.fixture(scope="session")
def oras() -> str:
    """A Python that has the ORAS client."""
    python = os.environ.get("NIMCTL_TEST_ORAS_PYTHON", sys.executable)
    found = subprocess.run([python, "-c", "import oras.client"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip("there is no ORAS client: pip install oras==0.2.43")
    return python


def oras_push(
    python: str, daemon: RegistryDaemon, target: str, files: list[str], user: str, password: str
) -> None:
    call = json.dumps([daemon.host, f"{daemon.host}/{target}", files, user, password])
    subprocess.run([python, "-c", ORAS_PUSH, call], check=True, capture_output=True)
