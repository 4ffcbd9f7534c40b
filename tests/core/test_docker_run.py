"""The printed `docker run` line; tests/containers compares it with what the API was asked for."""

import msgspec
from trtllm_subjects import CALIBRATION, SHOP, subject

from nimctl.core.containers import Devices
from nimctl.core.docker_run import docker_run_argv
from nimctl.core.trtllm.design import design
from nimctl.core.trtllm.job import build_container
from nimctl.core.trtllm.subject import BuildOptions


def test_a_build_is_one_line_that_can_be_run() -> None:
    shop = msgspec.structs.replace(
        SHOP, devices=Devices(uuids=("GPU-1", "GPU-2")), user="1000:1000"
    )
    made = design(subject("fp8", tp=2), BuildOptions(calibration=CALIBRATION), shop)
    spec = build_container(
        made.job, made.job.commands[0], key="k" * 64, checkpoint="/m", staging="/s"
    )
    line = docker_run_argv(spec, detach=False)
    assert line[-len(spec.command) :] == made.job.commands[0].argv
    assert line[: -len(spec.command)] == (
        *("docker", "run", "--rm", "--name", "nimctl-build-kkkkkkkkkkkk"),
        *("--user", "1000:1000", "--workdir", "/work", "--init=true", "--restart", "no"),
        *("--env", "HF_HUB_OFFLINE=1", "--env", "TRANSFORMERS_OFFLINE=1", "--env"),
        *("DO_NOT_TRACK=1", "--env", "HF_DATASETS_OFFLINE=1", "--env", "TRTLLM_NO_USAGE_STATS=1"),
        *("--env", "HOME=/work", "--env", "USER=nimctl"),
        *("--label", f"dev.nimctl.build={'k' * 64}"),
        *("--tmpfs", "/tmp:rw,nosuid,nodev,size=8589934592,mode=1777"),
        *("--mount", "type=bind,source=/m,target=/checkpoint,readonly"),
        *("--mount", "type=bind,source=/s,target=/engine"),
        *("--mount", "type=bind,source=/s/.work,target=/work"),
        *("--mount", "type=bind,source=/data/texts.jsonl,target=/calibration/train.jsonl,readonly"),
        *("--network", "none", "--gpus", '"device=GPU-1,GPU-2",driver=nvidia'),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--ipc", "host", "--ulimit", "memlock=-1:-1", "--ulimit", "stack=67108864:67108864"),
        *("--pids-limit", "4096", "--log-driver", "json-file"),
        *("--log-opt", "max-size=52428800", "--log-opt", "max-file=3"),
        "nvcr.io/nvidia/tensorrt-llm/release:1.2.1",
    )
