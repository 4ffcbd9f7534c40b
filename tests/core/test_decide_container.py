"""Serving from containers: what a plan is made of, and every refusal before the first byte."""

from typing import Any

import msgspec
import pytest
from test_decide import ARTIFACT, HOST, REF, SOURCE, around

from nimctl.core.catalogue import Nim
from nimctl.core.containers import OFFLINE_NETWORK, Image, ImageOffer
from nimctl.core.decide import Target, own_port, plan_container, runs_in_container
from nimctl.core.devices import GpuWish
from nimctl.core.errors import (
    ContainerEngineError,
    DiskFullError,
    HardwareError,
    NimctlError,
    NotFoundError,
    UsageError,
)
from nimctl.core.facts import Artifact
from nimctl.core.lora import AdapterFacts
from nimctl.core.machine import ContainerEngine, Gpu, Host, Trouble
from nimctl.core.plan import Await, Configure, LaunchContainer, Plan
from nimctl.core.profile import Candidate, Fit, ManifestEntry, Profile
from nimctl.core.requests import ServeRequest, read_variables

ENGINE = ContainerEngine(
    kind="docker",
    version="28.0.0",
    endpoint="unix:///var/run/docker.sock",
    architecture="amd64",
    nvidia_runtime=True,
)
GPUS = tuple(
    Gpu(
        index=index,
        name="NVIDIA H100 80GB HBM3",
        uuid=f"GPU-{index}",
        pci_device="2330:10de",
        compute_capability="9.0",
        memory_total_bytes=80 * 2**30,
        memory_free_bytes=79 * 2**30,
    )
    for index in range(2)
)
VLLM = "vllm/vllm-openai:latest"
NIM = Nim(
    image="nvcr.io/nim/nvidia/parakeet:1",
    source="https://docs.nvidia.com/nim/speech/latest/",
    ports={"http": 9000, "grpc": 50051},
    start_minutes=60,
)


def image(reference: str = VLLM, architecture: str = "amd64") -> Image:
    return Image(reference=reference, id="sha256:1", architecture=architecture, size=10**9)


def machine(engine: ContainerEngine | None = ENGINE, gpus: tuple[Gpu, ...] = GPUS) -> Host:
    return msgspec.structs.replace(HOST, gpus=gpus, container_engine=engine)


def target(backend: str = "vllm", **changes: Any) -> Target:
    profile = Profile(backend=backend, precision="fp8", source=SOURCE)
    profile = msgspec.structs.replace(profile, **changes.pop("profile", {}))
    plain = Target(
        ref=REF,
        model="repo",
        architecture=None,
        candidate=Candidate(
            profile=profile, fit=changes.pop("fit", Fit.COMPATIBLE), cached=True, reasons=("why",)
        ),
        artifact=ARTIFACT,
    )
    return msgspec.structs.replace(plain, **changes)


def bare_nim(family: str = "asr") -> Target:
    return target(
        "nim",
        profile={"source": None, "precision": None},
        artifact=Artifact(reference="nvcr.io/nim/nvidia/parakeet:1", files=()),
        nim=NIM,
        family=family,
    )


def serve(
    plan_target: Target | None = None,
    request: dict[str, Any] | None = None,
    host: Host | None = None,
    **changes: Any,
) -> Plan:
    wanted = ServeRequest(ref=REF, **(request or {}))
    surroundings = around(host=host or machine(), **{"image": image(), **changes})
    return plan_container(wanted, plan_target or target(), surroundings)


def kinds(plan: Plan) -> list[str]:
    return [type(step).__name__ for step in plan.steps]


def launch_of(plan: Plan) -> LaunchContainer:
    return next(step for step in plan.steps if isinstance(step, LaunchContainer))


def await_of(plan: Plan) -> Await:
    return next(step for step in plan.steps if isinstance(step, Await))


def refusal(error: type[NimctlError], **arguments: Any) -> NimctlError:
    with pytest.raises(error) as refused:
        serve(**arguments)
    return refused.value


def test_an_image_that_is_there_is_not_pulled_and_one_that_is_not_is_pulled_first() -> None:
    assert kinds(serve()) == ["Fetch", "Assemble", "LaunchContainer", "Await"]
    assert kinds(serve(image=None))[0] == "PullImage"
    assert kinds(serve(request={"pull": "always"}))[0] == "PullImage"


@pytest.mark.parametrize("request_", [{"pull": "never"}, {"offline": True}])
def test_an_image_that_is_not_there_and_may_not_be_pulled_is_named(
    request_: dict[str, object],
) -> None:
    refused = refusal(NotFoundError, request=request_, image=None)
    assert VLLM in refused.message
    assert refused.hint == f"docker pull {VLLM}"


def test_an_image_for_another_processor_is_refused_before_the_pull() -> None:
    refused = refusal(HardwareError, image=image(architecture="arm64"))
    assert "is for arm64, this machine is amd64" in refused.message


def test_what_the_registry_offers_is_judged_and_told_before_the_pull() -> None:
    offer = ImageOffer(reference=VLLM, architectures=("arm64",), size=None)
    refused = refusal(HardwareError, image=None, offer=offer)
    assert "is for arm64, this machine is amd64" in refused.message
    offer = ImageOffer(reference=VLLM, architectures=("amd64", "arm64"), size=12 * 2**30)
    assert f"{VLLM} is pulled: 12.0 GiB" in serve(image=None, offer=offer).notes


def test_an_image_that_cannot_fit_is_refused_before_the_pull() -> None:
    full = msgspec.structs.replace(ENGINE, disk_free_bytes=12 * 2**30)
    offer = ImageOffer(reference=VLLM, architectures=("amd64",), size=12 * 2**30 + 1)
    refused = refusal(DiskFullError, host=machine(full), image=None, offer=offer)
    assert "12.0 GiB are free" in refused.message
    assert refused.hint
    assert "docker system df" in refused.hint
    assert kinds(serve(host=machine(full), image=image(), offer=offer))
    assert kinds(serve(image=None, offer=offer))


def test_without_a_container_engine_the_trouble_is_the_cause() -> None:
    trouble = Trouble(kind="no-container-engine", message="permission denied")
    host = msgspec.structs.replace(machine(None), troubles=(trouble,))
    assert refusal(ContainerEngineError, host=host).cause == "permission denied"


def test_an_engine_that_has_no_gpus_to_give_is_told_how_to() -> None:
    engine = msgspec.structs.replace(ENGINE, nvidia_runtime=False)
    assert "nvidia-ctk" in str(refusal(ContainerEngineError, host=machine(engine)).hint)


def test_gpus_are_given_by_uuid_with_what_the_engine_has() -> None:
    devices = launch_of(serve(target(profile={"tp": 2}))).container.devices
    assert devices
    assert (devices.uuids, devices.method) == (("GPU-0", "GPU-1"), "nvidia")
    cdi = msgspec.structs.replace(ENGINE, nvidia_runtime=False, cdi_gpus=("nvidia.com/gpu=0",))
    devices = launch_of(serve(host=machine(cdi))).container.devices
    assert devices
    assert (devices.uuids, devices.method) == (("GPU-0",), "cdi")


def test_too_few_gpus_are_refused() -> None:
    assert (
        "4 identical GPUs" in refusal(HardwareError, plan_target=target(profile={"tp": 4})).message
    )


def test_a_profile_that_does_not_fit_is_refused_with_its_reasons() -> None:
    refused = refusal(HardwareError, plan_target=target(fit=Fit.INCOMPATIBLE))
    assert refused.cause == "why"


def test_a_backend_without_keys_of_its_own_is_exposed_behind_a_router_only() -> None:
    exposed = {"host": "0.0.0.0"}
    plan = serve(request=exposed, replica_ports=(40001,), haproxy="/usr/sbin/haproxy")
    assert kinds(plan)[-3:] == ["Configure", "Launch", "Await"]
    (configure,) = [step for step in plan.steps if isinstance(step, Configure)]
    assert configure.router.checks_keys
    assert configure.generate_api_key
    assert configure.router.address == "0.0.0.0"
    behind = launch_of(plan)
    assert [port.address for port in behind.container.ports] == ["127.0.0.1"]
    assert behind.server.group == configure.router.name
    open_to_all = launch_of(serve(request={**exposed, "auth": False}))
    assert open_to_all.container.ports[0].address == "0.0.0.0"


def test_replicas_have_ports_and_gpus_of_their_own_behind_one_router() -> None:
    plan = serve(request={"replicas": None}, replica_ports=(40001, 40002))
    made = [step for step in plan.steps if isinstance(step, LaunchContainer)]
    *replicas, router = made
    assert [one.container.devices.uuids for one in replicas if one.container.devices] == [
        ("GPU-0",),
        ("GPU-1",),
    ]
    assert [one.container.ports[0].host for one in replicas] == [40001, 40002]
    assert router.container.image == "haproxy:lts"
    assert router.container.network == "host"
    assert kinds(plan).count("Await") == 3


def test_replicas_stay_on_their_node_and_the_plan_names_it() -> None:
    gpus = tuple(
        msgspec.structs.replace(GPUS[0], index=index, uuid=f"GPU-{index}", numa_node=index % 2)
        for index in range(6)
    )
    plan = serve(
        target(profile={"tp": 2}),
        {"replicas": None, "name": "twins"},
        machine(gpus=gpus),
        replica_ports=(1, 2, 3, 4, 5, 6),
    )
    name = GPUS[0].name
    assert [note for note in plan.notes if note.startswith("twins-")] == [
        f"twins-1: {VLLM} on GPU 0 ({name}), 2 ({name}), NUMA node 0",
        f"twins-2: {VLLM} on GPU 1 ({name}), 3 ({name}), NUMA node 1",
        f"twins-3: {VLLM} on GPU 4 ({name}), 5 ({name}), NUMA nodes 0 and 1",
    ]


def test_servers_run_on_the_kind_that_their_profile_was_judged_on() -> None:
    a100 = tuple(
        msgspec.structs.replace(
            one, index=one.index + 2, uuid=f"GPU-{one.index + 2}", pci_device="20b2:10de"
        )
        for one in GPUS
    )
    judged = msgspec.structs.replace(target().candidate, gpus=a100[:1])
    on_a100 = msgspec.structs.replace(target(), candidate=judged)
    both = machine(gpus=(*GPUS, *a100))
    one = launch_of(serve(on_a100, host=both)).container.devices
    assert one
    assert one.uuids == ("GPU-2",)
    plan = serve(on_a100, {"replicas": None}, both, replica_ports=(1, 2, 3, 4))
    made = [step.container for step in plan.steps if isinstance(step, LaunchContainer)]
    assert [one.devices.uuids for one in made if one.devices] == [("GPU-2",), ("GPU-3",)]


def test_more_replicas_than_there_are_gpus_for_are_refused() -> None:
    refused = refusal(HardwareError, request={"replicas": 3}, replica_ports=(1, 2, 3))
    assert refused.cause == "there are enough for 2"
    assert "--replicas 2" in str(refused.hint)


def test_replicas_on_the_cpu_have_to_be_counted() -> None:
    on_cpu = target("llama_cpp", profile={"precision": "q8_0", "build": True})
    refusal(UsageError, plan_target=on_cpu, request={"replicas": None})
    plan = serve(on_cpu, {"replicas": 2}, replica_ports=(1, 2), haproxy="haproxy")
    assert kinds(plan).count("LaunchContainer") == 2


def test_llama_cpp_checks_keys_itself_and_takes_no_gpu() -> None:
    made = launch_of(
        serve(
            target("llama_cpp", profile={"precision": "q8_0", "build": True}),
            {"host": "0.0.0.0", "container": True},
        )
    )
    assert made.generate_api_key
    assert made.container.devices is None
    assert [secret.source for secret in made.container.secrets] == [made.server.api_key_file]


def test_a_language_model_is_ready_when_it_gave_a_token() -> None:
    assert await_of(serve()).until == "token"
    assert await_of(serve(bare_nim())).until == "ready"
    assert await_of(serve(request={"wait": "none"})).until == "none"


def test_a_nim_that_brings_its_files_gets_the_key_as_a_file_and_time_to_start() -> None:
    plan = serve(bare_nim(), has_registry_key=True, nim_cache="/cache/nim")
    made = launch_of(plan)
    assert kinds(plan) == ["LaunchContainer", "Await"]
    assert made.registry_key_file == f"/home/nimctl/servers/{made.server.name}/registry-key"
    assert [secret.variable for secret in made.container.secrets] == ["NGC_API_KEY"]
    assert [port.container for port in made.container.ports] == [9000, 50051]
    assert await_of(plan).timeout_s >= 3600
    assert "NIM_DISABLE_MODEL_DOWNLOAD" not in made.container.environment


def test_the_cpu_is_said_aloud_in_a_container_too_and_refused_where_a_gpu_is_required() -> None:
    on_cpu = target("llama_cpp")
    idle = "NVIDIA H100 is not used: --gpus none is given"
    assert f"WARNING: serving on the CPU; {idle}" in serve(on_cpu, idle_gpus=idle).notes
    refused = refusal(HardwareError, plan_target=on_cpu, request={"require_gpu": True})
    assert "no profile of repo runs on a GPU here" in refused.message
    assert not [note for note in serve(request={"require_gpu": True}).notes if "CPU" in note]


def test_a_nim_that_chooses_by_itself_gets_the_gpus_that_were_asked_for() -> None:
    two = launch_of(serve(bare_nim(), {"gpus": GpuWish(count=2)}, nim_cache="/cache/nim"))
    assert two.container.devices
    assert len(two.container.devices.uuids) == 2


def test_the_early_access_container_is_said_to_be_open_and_is_closed_behind_a_router() -> None:
    early = target("nemollm", nim=msgspec.structs.replace(NIM, image="nvcr.io/ea:24.01"))
    assert own_port(early) == 9999
    assert own_port(target()) is None
    open_ = serve(early, {"name": "m"}, port=9999)
    assert launch_of(open_).container.network == "host"
    assert [note for note in open_.notes if note.startswith("WARNING: m is on the host's network")]
    # A key that only the router asks for would be no key if the replica were on every address.
    asked = {"name": "m", "host": "0.0.0.0", "api_key_file": "/keys"}
    closed = serve(early, asked, replica_ports=(40001,), haproxy="haproxy")
    made = launch_of(closed).container
    assert made.network == "bridge"
    assert [(one.address, one.host, one.container) for one in made.ports] == [
        ("127.0.0.1", 40001, 9999)
    ]
    assert not [note for note in closed.notes if "host's network" in note]


def test_replicas_publish_no_port_but_the_one_that_the_router_asks() -> None:
    plan = serve(
        bare_nim(),
        {"replicas": 2},
        replica_ports=(40001, 40002),
        haproxy="haproxy",
        nim_cache="/cache/nim",
    )
    launches = [step for step in plan.steps if isinstance(step, LaunchContainer)]
    published = [[port.container for port in one.container.ports] for one in launches]
    assert published == [[9000], [9000]]
    assert "WARNING: grpc on port 50051 is not published: a router speaks HTTP" in plan.notes


def test_a_nim_that_is_offline_or_has_its_files_gets_no_key() -> None:
    offline = launch_of(serve(bare_nim(), {"offline": True}, has_registry_key=True))
    assert offline.container.secrets == ()
    assert offline.container.environment["NIM_DISABLE_MODEL_DOWNLOAD"] == "1"
    assert offline.container.network == OFFLINE_NETWORK


def test_a_profile_of_a_manifest_is_pinned_by_its_id() -> None:
    entry = ManifestEntry(id="8b" * 32, name="vllm-fp8-tp1", tags={})
    pinned = msgspec.structs.replace(
        bare_nim("llm"),
        candidate=msgspec.structs.replace(
            bare_nim().candidate, profile=Profile(backend="nim", precision="fp8", entry=entry)
        ),
    )
    assert launch_of(serve(pinned)).container.environment["NIM_MODEL_PROFILE"] == "8b" * 32


def test_an_engine_and_a_checkpoint_are_mounted_where_the_store_has_them() -> None:
    store = "/home/nimctl/model-store"
    made = launch_of(serve(target("tensorrt_llm")))
    mounted = {mount.target: mount.source.removeprefix(store) for mount in made.container.mounts}
    assert mounted["/engines/repo"].endswith("/trtllm_engine")
    assert mounted["/models/repo"] + "/trtllm_engine" == mounted["/engines/repo"]


def test_adapters_are_checked_and_doubts_are_said() -> None:
    facts = AdapterFacts(
        directory="/lora/sql",
        config=b'{"r": 8, "base_model_name_or_path": "other/model"}',
        shapes=None,
    )
    plan = serve(adapters=(facts,))
    assert "sql=/adapters/sql" in launch_of(plan).container.command
    assert any("other/model" in note for note in plan.notes)


def test_the_users_variables_and_memory_limit_reach_the_container() -> None:
    made = launch_of(serve(request={"environment": {"A": "1"}})).container
    assert made.environment["A"] == "1"
    assert made.memory_limit_bytes == int(HOST.memory_total_bytes * 0.9)
    assert made.user == "1000:1000"


def test_variables_are_read_as_docker_run_reads_them() -> None:
    assert read_variables(["A=1", "B=", "C"], {"C": "3"}) == {"A": "1", "B": "", "C": "3"}
    for wrong in ("=1", "MISSING", ""):
        with pytest.raises(UsageError, match="--env"):
            read_variables([wrong], {})


@pytest.mark.parametrize(
    ("backend", "request_", "kind"),
    [
        ("vllm", {}, "container"),
        ("llama_cpp", {}, "process"),
        ("llama_cpp", {"container": True}, "container"),
        ("llama_cpp", {"image": "my/image"}, "container"),
    ],
)
def test_the_embedded_engine_serves_unless_a_container_is_asked_for(
    backend: str, request_: dict[str, Any], kind: str
) -> None:
    request = ServeRequest(ref=REF, **request_)
    found = "container" if runs_in_container(request, target(backend)) else "process"
    assert found == kind
