"""The real docker command, and names that belong to one test process."""

import os
import subprocess

# Runs and workers beside each other share nothing.
RUN = f"nimctl-test-{os.getpid()}"
LABEL = "dev.nimctl.test"


def docker(*argv: str) -> str:
    """What the command prints; a failure fails the test."""
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
