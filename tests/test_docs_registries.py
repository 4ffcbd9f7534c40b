"""docs/how-to/registries.md is run against stand-ins of the registries that it names."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hub import Hub
from ngc import Ngc
from registry_daemon import RegistryDaemon
from s3_server import S3Server
from test_docs import ROOT, consoles, matches

DOCUMENT = ROOT / "docs" / "how-to" / "registries.md"
FILES = {"config.json": b"{}", "model.gguf": b"GGUF" + bytes(5000)}


@pytest.fixture
def host(environ: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """Everything that the document takes for granted; gives the OCI registry's host."""
    with ExitStack() as stack:
        hub = stack.enter_context(Hub())
        tiny = hub.add("acme/tiny", FILES)
        tiny.tags["v1"] = tiny.branches["main"]
        hub.add("acme/gated", FILES, gated="manual")
        hub.grants = {"hf_member": {"acme/gated"}}
        ngc = stack.enter_context(Ngc(tmp_path))
        detector = ngc.add("acme/vision/detector", is_public=True)
        for version in ("1.0.0", "LLAMA-2-7B-4K-FP16-1-A100.24.01"):
            detector.add(version, FILES)
        store = stack.enter_context(S3Server())
        store.fill("models", {f"tiny/{path}": data for path, data in FILES.items()})
        environ |= {
            "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
            "TOKEN": "hf_member",
            "HF_ENDPOINT": hub.endpoint,
            "NGC_CLI_API_URL": ngc.url,
            "NGC_CLI_AUTH_URL": ngc.url,
            "SSL_CERT_FILE": ngc.ca_file,
            "AWS_ENDPOINT_URL": store.url,
            "AWS_ACCESS_KEY_ID": store.key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": store.key.secret_access_key,
        }
        directory = tmp_path / "registry"
        directory.mkdir()
        yield stack.enter_context(RegistryDaemon(directory)).host


def test_the_how_to_of_registries_runs_as_written(
    host: str, environ: dict[str, str], tmp_path: Path
) -> None:
    steps = list(consoles(DOCUMENT))
    assert len(steps) >= 15
    place = tmp_path / "work"
    place.mkdir()
    for command, shown in steps:
        here = command.replace("localhost:5000", host)
        done = subprocess.run(
            ["bash", "-c", here],
            cwd=place,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (here, done.stdout)
        expected = shown.replace("localhost:5000", host)
        assert matches(expected, done.stdout), f"$ {here}\n{done.stdout}\nis not\n{expected}"
