"""The printed `docker run` line; tests/containers compares it with what the API was asked for."""

import msgspec
from trtllm_subjects import CALIBRATION, SHOP, subject

from nimctl.core.containers import ContainerSpec, Devices, HealthCheck, Mount, PublishedPort
from nimctl.core.docker_command import docker_run
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
    line = docker_run(spec)
    assert line[-len(spec.command) :] == made.job.commands[0].argv
    assert line[: -len(spec.command)] == (
        *("docker", "run", "--rm", "--name", "nimctl-build-kkkkkkkkkkkk"),
        *("--user", "1000:1000", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--gpus", '"device=GPU-1,GPU-2"'),
        *("--ipc", "host", "--ulimit", "memlock=-1:-1", "--ulimit", "stack=67108864:67108864"),
        *("--pids-limit", "4096", "--network", "none"),
        *("--mount", "type=bind,source=/m,target=/checkpoint,readonly"),
        *("--mount", "type=bind,source=/s,target=/engine"),
        *("--mount", "type=bind,source=/s/.work,target=/work"),
        *("--mount", "type=bind,source=/data/texts.jsonl,target=/calibration/train.jsonl,readonly"),
        *("--tmpfs", "/tmp:rw,nosuid,nodev,size=8589934592,mode=1777", "--init"),  # noqa: S108
        *("--workdir", "/work"),
        *("--env", "HF_HUB_OFFLINE=1", "--env", "TRANSFORMERS_OFFLINE=1", "--env"),
        *("DO_NOT_TRACK=1", "--env", "HF_DATASETS_OFFLINE=1", "--env", "TRTLLM_NO_USAGE_STATS=1"),
        *("--env", "HOME=/work", "--env", "USER=nimctl"),
        *("--label", f"org.nimctl.build={'k' * 64}"),
        "nvcr.io/nvidia/tensorrt-llm/release:1.2.1",
    )


def test_everything_else_of_a_spec_has_its_flag() -> None:
    spec = ContainerSpec(
        name="server",
        image="image",
        entrypoint=("serve", "--now"),
        command=("model",),
        mounts=(Mount(source="/with,comma", target="/m"),),
        ports=(PublishedPort(container=8000, host=9000, address="::1"),),
        devices=Devices(uuids=("MIG-1", "MIG-2"), method="cdi"),
        shm_bytes=1024,
        memory_limit_bytes=2048,
        cpuset="0-3",
        numa_nodes="0",
        platform="linux/amd64",
        restart="unless-stopped",
        pids_limit=None,
        init=False,
        health=HealthCheck(command=("curl", "-f", "http://localhost")),
    )
    assert docker_run(spec, detach=True) == (
        *("docker", "run", "--detach", "--name", "server"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"),
        *("--device", "nvidia.com/gpu=MIG-1", "--device", "nvidia.com/gpu=MIG-2"),
        *("--shm-size", "1024", "--memory", "2048", "--memory-swap", "2048"),
        *("--cpuset-cpus", "0-3", "--cpuset-mems", "0"),
        *("--publish", "[::1]:9000:8000"),
        *("--mount", 'type=bind,"source=/with,comma",target=/m,readonly'),
        *("--restart", "unless-stopped", "--platform", "linux/amd64"),
        *("--health-cmd", "curl -f http://localhost", "--health-interval", "5s"),
        *("--health-timeout", "3s", "--health-retries", "3", "--health-start-period", "0s"),
        *("--entrypoint", "serve", "image", "--now", "model"),
    )
