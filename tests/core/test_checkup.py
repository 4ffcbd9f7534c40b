"""What doctor says of a machine, from what was observed."""

from typing import Any

import msgspec
import pytest
from test_decide import HOST

from nimctl.core.backends import X86_FEATURES
from nimctl.core.doctor import Check, Circumstances, Failed, Login, State, examine
from nimctl.core.machine import ContainerEngine, EmbeddedRuntime, Gpu, Host, Trouble
from nimctl.core.planned import planned_host

GIB = 2**30
ON_GPUS = ("tensorrt_llm", "vllm", "sglang", "nim", "nemollm")
DOCKER = ContainerEngine(
    kind="docker",
    version="28.1",
    endpoint="unix:///var/run/docker.sock",
    architecture="amd64",
    nvidia_runtime=True,
)


def host_with(*gpus: str, **changes: Any) -> Host:
    """A machine that has everything, with these GPUs."""
    planned = planned_host(gpus) if gpus else HOST
    sound: dict[str, Any] = {
        "cpu": msgspec.structs.replace(HOST.cpu, features=X86_FEATURES),
        "memory_available_bytes": 64 * GIB,
        "memory_total_bytes": 64 * GIB,
        "disk_free_bytes": 500 * GIB,
        "driver_version": "580.95.05" if gpus else None,
        "cuda_version": "13.0" if gpus else None,
        "container_engine": DOCKER,
        "embedded": EmbeddedRuntime(version="1", libgomp=True),
    }
    return msgspec.structs.replace(planned, **sound | changes)


def checks_of(host: Host, **changes: Any) -> tuple[Check, ...]:
    seen = Circumstances(
        **{"host": host, "home": "/home/me/nimctl", "home_writable": True, **changes}
    )
    return examine(seen, "1.0").checks


def usable(host: Host, **changes: Any) -> list[str]:
    seen = Circumstances(**{"host": host, "home": "/home", "home_writable": True, **changes})
    return [one.name for one in examine(seen, "1.0").backends if one.usable]


def wrong(checks: tuple[Check, ...]) -> list[tuple[str, str]]:
    return [(one.group, one.state.value) for one in checks if one.state is not State.OK]


@pytest.mark.parametrize(
    "gpu", ["h100_sxm:8", "l40s:4", "rtx_4090", "gb10", "h100_sxm,mig=3g.40gb:2"]
)
def test_a_sound_machine_has_nothing_wrong_and_can_do_everything(gpu: str) -> None:
    host = host_with(gpu)
    assert wrong(checks_of(host)) == []
    assert usable(host) == [*ON_GPUS, "llama_cpp"]


def test_a_machine_without_a_gpu_is_sound_and_serves_on_the_cpu() -> None:
    assert wrong(checks_of(host_with())) == []
    assert usable(host_with()) == ["llama_cpp"]


def test_equal_gpus_are_one_line_with_what_matters() -> None:
    line = checks_of(host_with("h100_sxm:8"))[0].message
    assert line == (
        "8 x NVIDIA H100 80GB HBM3 (h100_sxm), 79.6 GiB each, compute capability 9.0, NVLink"
    )


def test_different_gpus_are_pointed_out() -> None:
    checks = checks_of(host_with("h100_sxm", "t600"))
    assert wrong(checks) == [("GPU", "warning")]
    assert sum(check.group == "GPU" for check in checks) == 3


def test_memory_in_use_is_pointed_out_with_the_display() -> None:
    gpu = msgspec.structs.replace(host_with("rtx_4090,used=3GiB").gpus[0], drives_display=True)
    checks = checks_of(host_with("rtx_4090", gpus=(gpu,)))
    message = checks[1].message
    assert message == "GPU 0 has 3.0 GiB of 24.0 GiB in use; it drives a display"
    assert wrong(checks_of(host_with("rtx_4090,used=1GiB"))) == []


def test_a_gpu_that_is_too_old_runs_nothing() -> None:
    host = host_with("v100_sxm_16gb")
    assert wrong(checks_of(host)) == [("GPU", "warning")]
    assert usable(host) == ["llama_cpp"]


def test_a_gpu_that_the_table_lacks_is_usable_and_pointed_out() -> None:
    unknown = Gpu(
        index=0,
        name="NVIDIA X1",
        uuid="GPU-1",
        pci_device="ffff:10de",
        compute_capability="13.0",
    )
    host = host_with("l4", gpus=(unknown,))
    assert wrong(checks_of(host)) == [("GPU", "warning")]
    assert set(ON_GPUS) <= set(usable(host))


@pytest.mark.parametrize(
    ("driver", "gpu", "old"),
    [
        ("580.95.05", "rtx_4090", False),
        ("610.1", "rtx_4090", False),
        ("550.163.01", "rtx_4090", True),
        ("550.163.01", "l4", False),
        ("525.1", "l4", True),
        ("540.4.0", "jetson_orin,memory=32GiB", False),
        ("535.1", "v100_sxm_16gb", False),
        ("unknown", "l4", False),
    ],
)
def test_an_old_driver_is_pointed_out_where_a_new_one_can_be_had(
    driver: str, gpu: str, *, old: bool
) -> None:
    checks = checks_of(host_with(gpu, driver_version=driver))
    assert (("driver", "warning") in wrong(checks)) is old


@pytest.mark.parametrize(
    ("kind", "fix"),
    [
        ("container-without-gpus", "--gpus all"),
        ("driver-failed", "dmesg"),
        ("driver-mismatch", "sudo reboot"),
        ("driver-not-loaded", "modprobe nvidia"),
        ("driver-silent", "dmesg"),
        ("gpu-lost", "xid"),
        ("library-missing", "install the driver"),
        ("mig-without-slices", "nvidia-smi mig"),
        ("no-driver", "ubuntu-drivers"),
        ("no-permission", "usermod"),
        ("unknown-gpu", "driver"),
    ],
)
def test_every_trouble_has_a_fix_and_is_a_problem_only_if_no_gpu_is_left(
    kind: Any, fix: str
) -> None:
    trouble = Trouble(kind=kind, message="it is broken")
    alone = host_with(troubles=(trouble,))
    [check] = [one for one in checks_of(alone) if one.message == "it is broken"]
    assert check.state is State.PROBLEM
    assert fix in (check.fix or "")
    assert usable(alone) == ["llama_cpp"]
    beside = host_with("l4", troubles=(trouble,))
    [check] = [one for one in checks_of(beside) if one.message == "it is broken"]
    assert check.state is State.WARNING
    assert "vllm" in usable(beside)


@pytest.mark.parametrize(
    ("engine", "fix"),
    [
        ({"kind": "docker"}, "sudo systemctl restart docker"),
        ({"kind": "docker", "rootless": True}, "systemctl --user restart docker"),
        ({"kind": "podman"}, "nvidia-ctk cdi generate"),
    ],
)
def test_an_engine_that_hands_no_gpus_over_is_a_problem_with_gpus_only(
    engine: dict[str, Any], fix: str
) -> None:
    without = msgspec.structs.replace(DOCKER, nvidia_runtime=False, **engine)
    host = host_with("l4", container_engine=without)
    checks = checks_of(host)
    assert wrong(checks) == [("container engine", "problem")]
    assert any(fix in (check.fix or "") for check in checks)
    assert usable(host) == ["llama_cpp"]
    assert wrong(checks_of(host_with(container_engine=without))) == []


def test_gpus_may_be_handed_over_by_cdi() -> None:
    cdi = msgspec.structs.replace(
        DOCKER, nvidia_runtime=False, cdi_gpus=("nvidia.com/gpu=0", "nvidia.com/gpu=all")
    )
    checks = checks_of(host_with("l4", container_engine=cdi))
    assert wrong(checks) == []
    assert any("CDI (2 devices)" in check.message for check in checks)


def test_a_missing_engine_says_why_and_what_to_do() -> None:
    failure = Failed(message="cannot connect", cause="permission denied", hint="usermod -aG docker")
    host = host_with("l4", container_engine=None)
    checks = checks_of(host, engine_failure=failure)
    [check] = [one for one in checks if one.group == "container engine"]
    assert check.message == "cannot connect: permission denied"
    assert (check.fix, check.state) == ("usermod -aG docker", State.PROBLEM)
    assert wrong(checks_of(host_with(container_engine=None))) == [("container engine", "warning")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedded": EmbeddedRuntime()}, "not installed"),
        ({"embedded": EmbeddedRuntime(version="1", libgomp=False)}, "libgomp.so.1"),
        ({"cpu": msgspec.structs.replace(HOST.cpu, features=("avx2",))}, "lacks fma"),
    ],
)
def test_the_embedded_engine_tells_what_it_lacks(changes: dict[str, Any], words: str) -> None:
    host = host_with(**changes)
    checks = checks_of(host)
    assert wrong(checks) == [("embedded engine", "problem")]
    assert any(words in check.message for check in checks)
    assert usable(host) == []
    assert usable(host_with("l4", **changes)) == list(ON_GPUS)


@pytest.mark.parametrize(
    ("changes", "circumstances", "group", "state", "left"),
    [
        ({"disk_free_bytes": GIB // 2}, {}, "disk", "problem", []),
        ({"disk_free_bytes": 5 * GIB}, {}, "disk", "warning", ["llama_cpp"]),
        ({}, {"home_writable": False}, "disk", "problem", []),
        ({"memory_available_bytes": GIB}, {}, "memory", "warning", ["llama_cpp"]),
        ({}, {"proxies": {"https": "socks5://p:1080"}}, "network", "problem", ["llama_cpp"]),
        ({}, {"ca_file": "/no", "ca_file_exists": False}, "network", "problem", ["llama_cpp"]),
    ],
)
def test_what_is_wrong_is_said_in_its_group(
    changes: dict[str, Any],
    circumstances: dict[str, Any],
    group: str,
    state: str,
    left: list[str],
) -> None:
    host = host_with(**changes)
    checks = checks_of(host, **circumstances)
    assert wrong(checks) == [(group, state)]
    assert all(check.fix for check in checks if check.state is not State.OK)
    assert usable(host, **circumstances) == left


def test_registries_and_proxies_are_listed() -> None:
    checks = checks_of(
        host_with(),
        logins=(Login(registry="ngc", present=True), Login(registry="hf", present=False)),
        proxies={"https": "http://proxy:3128", "no": "localhost"},
        ca_file="/etc/ca.pem",
    )
    lines = [check.message for check in checks if check.group in ("registries", "network")]
    assert lines == [
        "ngc: a key is there",
        "hf: no key, see `nimctl login hf`",
        "https_proxy is http://proxy:3128",
        "no_proxy is localhost",
        "certificates from /etc/ca.pem",
    ]


def test_a_stopped_backend_tells_what_stops_it() -> None:
    seen = Circumstances(host=host_with(), home="/home", home_writable=True)
    states = {one.name: one for one in examine(seen, "1.0").backends}
    assert states["llama_cpp"].stopped_by == ()
    assert states["vllm"].stopped_by[0].startswith("no NVIDIA GPU")
