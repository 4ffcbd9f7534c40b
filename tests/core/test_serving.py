"""What each backend's container is created with."""

import json
from pathlib import Path

import msgspec
import pytest
from golden_containers import DIRECTORY, path_of, servings, text_of

from nimctl.core.containers import ContainerSpec, PublishedPort
from nimctl.core.serving import BACKENDS, Serving, container

SERVINGS = servings()
FLAGS = json.loads((Path(__file__).parent.parent / "data" / "trtllm_serve_flags.json").read_text())


def spec(name: str, **changes: object) -> ContainerSpec:
    return container(msgspec.structs.replace(SERVINGS[name], **changes))


@pytest.mark.parametrize("name", SERVINGS)
def test_a_container_is_as_its_golden_file_says(name: str) -> None:
    assert text_of(container(SERVINGS[name])) == path_of(name).read_text()


def test_there_is_no_golden_file_of_nothing() -> None:
    assert {path.stem for path in DIRECTORY.glob("*.json")} == set(SERVINGS)


@pytest.mark.parametrize("name", SERVINGS)
def test_every_container_is_closed_but_for_what_its_image_needs(name: str) -> None:
    serving, made = SERVINGS[name], container(SERVINGS[name])
    backend = BACKENDS[serving.profile.backend]
    assert made.dropped_capabilities == ("ALL",)
    assert made.no_new_privileges
    assert made.pids_limit
    assert (made.user == "1000:1000") is backend.runs_as_user
    assert made.read_only_root is backend.read_only_root
    writable = [mount.target for mount in made.mounts if not mount.read_only]
    assert writable == (["/opt/nim/.cache"] if serving.profile.backend == "nim" else [])
    assert {port.address for port in made.ports} <= {"127.0.0.1"}


@pytest.mark.parametrize("name", [name for name in SERVINGS if "tensorrt_llm" in name])
def test_trtllm_serve_gets_only_flags_that_every_release_has(name: str) -> None:
    command = container(SERVINGS[name]).command
    given = [word for word in command if word.startswith("--")]
    assert set(given) <= set(FLAGS["flags"])
    assert command[0].endswith(f"/{SERVINGS[name].model}")


def test_the_early_access_container_runs_as_nvidias_text_ran_it() -> None:
    made = spec("nemollm-h100")
    assert made.command == ("nemollm_inference_ms", "--model", "llama-2-7b", "--num_gpus=1")
    assert made.network == "host"
    assert made.shm_bytes == 2**30
    assert [(mount.source[-12:], mount.target) for mount in made.mounts] == [
        ("/model-store", "/model-store")
    ]
    assert made.ports == ()


def test_another_port_is_told_to_the_early_access_container_itself() -> None:
    assert spec("nemollm-h100", port=9000).command[-1] == "--openai_port=9000"


@pytest.mark.parametrize(
    "closed", [{"network": "nimctl-offline"}, {"is_routed": True}], ids=["offline", "routed"]
)
def test_the_early_access_container_has_a_network_of_its_own_where_it_must_be_closed(
    closed: dict[str, object],
) -> None:
    made = spec("nemollm-h100", port=8123, **closed)
    assert made.network == closed.get("network", "bridge")
    assert made.ports == (PublishedPort(container=9999, host=8123),)
    assert made.command == ("nemollm_inference_ms", "--model", "llama-2-7b", "--num_gpus=1")


def test_a_nim_that_has_its_files_gets_no_key_and_may_not_download() -> None:
    made = spec("nim-h100")
    assert made.secrets == ()
    assert made.environment["NIM_DISABLE_MODEL_DOWNLOAD"] == "1"
    download = spec("nim-download-h100")
    assert [secret.variable for secret in download.secrets] == ["NGC_API_KEY"]
    assert "NIM_DISABLE_MODEL_DOWNLOAD" not in download.environment
    assert "NGC_API_KEY" not in download.environment


@pytest.mark.parametrize(("rank", "given"), [(8, "8"), (12, "16"), (65, "128"), (600, "600")])
def test_vllm_is_given_the_next_rank_that_it_takes(rank: int, given: str) -> None:
    adapters = tuple(
        msgspec.structs.replace(one, rank=rank) for one in SERVINGS["vllm-h100-lora"].adapters
    )
    command = spec("vllm-h100-lora", adapters=adapters).command
    assert command[command.index("--max-lora-rank") + 1] == given


def test_the_users_own_words_come_last_and_win() -> None:
    serving: Serving = SERVINGS["vllm-everything"]
    made = container(serving)
    assert made.command[-1] == "--enable-prefix-caching"
    assert made.environment["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert made.restart == "unless-stopped"
