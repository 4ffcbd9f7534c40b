"""What Podman's Docker-compatible API says of a container: recorded from 4.3.1 (Debian 12)."""

import json
from pathlib import Path

from nimctl.core.containers import OFFLINE_NETWORK, Image, Mount, Secret
from nimctl.serving.docker.restore import spec_of

RECORDED = Path(__file__).parent.parent / "data" / "podman" / "inspect-4.3.1.json"
ENGINE = "model-store/capitals-demo/llama_cpp-q8_0-tp1-pp1/llama_cpp_engine/model.gguf"
IMAGE = Image(
    reference="localhost/nimctl/llama-cpp:latest",
    id="sha256:2785d02cb220",
    architecture="amd64",
    size=1,
    user="1000:1000",
    environment=(
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH=/opt/nimctl/site",
        "LD_LIBRARY_PATH=/opt/nimctl/lib",
        "PYTHONDONTWRITEBYTECODE=1",
        "PYTHONUNBUFFERED=1",
    ),
    entrypoint=("python3", "-m", "nimctl.serving.llama_server"),
)


def test_what_a_container_was_created_with_is_read_back_from_podman() -> None:
    spec = spec_of(json.loads(RECORDED.read_text()), IMAGE)
    # It has them beside the host's configuration only.
    assert spec.mounts == (Mount(source=f"/srv/nimctl/{ENGINE}", target="/engines/model.gguf"),)
    assert spec.secrets == (Secret(name="api-keys", source="/srv/keys"),)
    # A bridge, as it calls every network.
    assert spec.network == OFFLINE_NETWORK
    assert spec.environment == {"HOME": "/tmp"}
    assert spec.dropped_capabilities == ("ALL",)
    assert spec.ulimits == {"nofile": 1024, "nproc": 4096}
    assert spec.tmpfs == {"/tmp": 8 * 2**30}
    assert (spec.user, spec.working_directory) == (None, None)
    assert (spec.read_only_root, spec.no_new_privileges, spec.init) == (True, True, True)
    assert spec.command[:2] == ("-m", "nimctl.serving.llama_server")
