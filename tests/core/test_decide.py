"""Every refusal before the first byte, and what a plan is made of."""

from typing import Any

import msgspec
import pytest

from nimctl.core.decide import Surroundings, Target, plan_build, plan_embedded, plan_pull
from nimctl.core.errors import DiskFullError, HardwareError, NotFoundError, UsageError
from nimctl.core.facts import Artifact, File, Inventory
from nimctl.core.layout import Layout
from nimctl.core.machine import Cpu, EmbeddedRuntime, Gpu, Host
from nimctl.core.plan import Attach, Await, Build, Fetch, Launch, Plan
from nimctl.core.profile import Candidate, Fit, Profile
from nimctl.core.refs import ModelRef
from nimctl.core.requests import ServeRequest

SOURCE = "hf://org/repo"
REF = ModelRef.parse(SOURCE)
HOST = Host(
    system="linux",
    cpu=Cpu(model="Test CPU", architecture="x86_64", cores=4, threads=8),
    memory_total_bytes=16 * 2**30,
    memory_available_bytes=12 * 2**30,
    disk_free_bytes=10 * 2**30,
    embedded=EmbeddedRuntime(version="2026.10.11549", libgomp=True),
)
WEIGHTS = File(
    path="model.safetensors", url="https://x/m", size=2**30, digests={"sha256": "a" * 64}
)
CONFIG = File(path="config.json", url="https://x/c", size=100, digests={"sha256": "b" * 64})
ARTIFACT = Artifact(reference=SOURCE, revision="c" * 40, files=(WEIGHTS, CONFIG))


def target(*, fit: Fit = Fit.BUILDABLE, build: bool = True, cached: bool = False) -> Target:
    profile = Profile(backend="llama_cpp", precision="q8_0", source=SOURCE, build=build)
    candidate = Candidate(profile=profile, fit=fit, cached=cached, reasons=("because",))
    return Target(
        ref=REF, model="org/repo", architecture=None, candidate=candidate, artifact=ARTIFACT
    )


def around(**changes: Any) -> Surroundings:
    base = Surroundings(
        host=HOST,
        layout=Layout(home="/home/nimctl"),
        inventory=Inventory(),
        builder="builder-1",
        python="python3",
        port=8000,
    )
    return msgspec.structs.replace(base, **changes)


def serve(
    plan_target: Target | None = None, request: dict[str, Any] | None = None, **changes: Any
) -> Plan:
    wanted = ServeRequest(ref=REF, **(request or {}))
    return plan_embedded(wanted, plan_target or target(), around(**changes))


def host(**changes: Any) -> Host:
    return msgspec.structs.replace(HOST, **changes)


def launch_of(plan: Plan) -> Launch:
    return next(step for step in plan.steps if isinstance(step, Launch))


def test_what_is_missing_is_fetched_built_and_launched() -> None:
    plan = serve()
    kinds = [type(step).__name__ for step in plan.steps]
    assert kinds == ["Fetch", "Assemble", "Build", "Attach", "Launch", "Await"]
    fetch = plan.steps[0]
    assert isinstance(fetch, Fetch)
    assert fetch.missing == ARTIFACT.files


def test_what_is_there_is_not_done_again() -> None:
    build = next(step for step in serve().steps if isinstance(step, Build))
    there = Inventory(
        pinned=True, blobs=frozenset({"a" * 64, "b" * 64}), engines=frozenset({build.key or ""})
    )
    kinds = [type(step).__name__ for step in serve(inventory=there).steps]
    assert kinds == ["Assemble", "Attach", "Launch", "Await"]
    unpinned = msgspec.structs.replace(there, pinned=False)
    assert isinstance(serve(inventory=unpinned).steps[0], Fetch)


def test_equal_input_gives_equal_plans() -> None:
    assert msgspec.json.encode(serve()) == msgspec.json.encode(serve())


def test_without_the_embedded_engine_the_extra_is_named() -> None:
    without = host(embedded=EmbeddedRuntime(version=None, libgomp=True))
    with pytest.raises(NotFoundError) as caught:
        serve(host=without)
    assert caught.value.hint == "pip install 'nimctl[cpu]'"
    with pytest.raises(NotFoundError):
        plan_build(target(), around(host=without))


def test_without_libgomp_the_package_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"libgomp\.so\.1") as caught:
        serve(host=host(embedded=EmbeddedRuntime(version="1", libgomp=False)))
    assert "apt-get install libgomp1" in str(caught.value.hint)


@pytest.mark.parametrize("fit", [Fit.INCOMPATIBLE, Fit.LOW_MEMORY])
def test_a_profile_that_does_not_fit_is_refused_with_its_reasons(fit: Fit) -> None:
    with pytest.raises(HardwareError) as caught:
        serve(target(fit=fit))
    assert caught.value.cause == "because"


def test_a_gpu_that_is_required_is_not_replaced_by_the_cpu() -> None:
    with pytest.raises(HardwareError, match="no profile of org/repo runs on a GPU here"):
        serve(request={"require_gpu": True})


def test_a_gpu_that_is_not_used_is_said_loudly() -> None:
    gpu = Gpu(
        index=0,
        name="NVIDIA L40S",
        uuid="GPU-1",
        pci_device="26b9:10de",
        compute_capability="8.9",
    )
    assert any(
        note.startswith("WARNING: serving on the CPU; NVIDIA L40S")
        for note in serve(host=host(gpus=(gpu,))).notes
    )


def test_the_disk_has_to_hold_the_download_and_the_engine() -> None:
    small = host(disk_free_bytes=2**30 + 100 * 2**20)
    plan_pull(REF, ARTIFACT, around(host=small))
    with pytest.raises(DiskFullError, match="and its engine"):
        serve(host=small)
    with pytest.raises(DiskFullError):
        plan_pull(REF, ARTIFACT, around(host=host(disk_free_bytes=2**30)))


def test_a_name_that_runs_already_is_refused() -> None:
    with pytest.raises(UsageError, match="runs already at http://x"):
        serve(request={"name": "mine"}, running={"mine": "http://x"})


@pytest.mark.parametrize("name", ["../x", "", "a/b", "-x", "a" * 200])
def test_a_name_is_a_safe_part_of_a_path(name: str) -> None:
    with pytest.raises(UsageError):
        serve(request={"name": name or "."})


def test_a_server_that_others_reach_has_a_key_unless_told_otherwise() -> None:
    exposed = {"host": "0.0.0.0"}
    launch = launch_of(serve(request=exposed))
    assert launch.generate_api_key
    assert launch.server.url == "http://127.0.0.1:8000"
    assert "--api-key-file" in launch.argv
    assert not launch_of(serve(request={**exposed, "auth": False})).generate_api_key
    assert not launch_of(serve()).generate_api_key
    own = launch_of(serve(request={**exposed, "api_key_file": "/keys"}))
    assert (own.generate_api_key, own.server.api_key_file) == (False, "/keys")


def test_the_time_limit_grows_with_the_model_and_can_be_set() -> None:
    def limit(plan: Plan) -> float:
        return next(step.timeout_s for step in plan.steps if isinstance(step, Await))

    assert limit(serve()) > 60
    assert limit(serve(request={"timeout_s": 5.0})) == 5.0


def test_an_engine_of_an_artifact_without_a_digest_is_keyed_after_the_fetch() -> None:
    unknown = msgspec.structs.replace(CONFIG, digests={"git-sha1": "d" * 40})
    artifact = msgspec.structs.replace(ARTIFACT, files=(WEIGHTS, unknown))
    plan = serve(msgspec.structs.replace(target(), artifact=artifact))
    build = next(step for step in plan.steps if isinstance(step, Build))
    assert build.key is None
    assert any(isinstance(step, Attach) for step in plan.steps)


def test_what_needs_no_build_says_so() -> None:
    with pytest.raises(UsageError, match="needs no build"):
        plan_build(target(build=False), around())


@pytest.mark.parametrize(("url", "times"), [("https://x/m.tar.gz", 2), ("file:///m.tar.gz", 1)])
def test_an_archive_needs_room_for_itself_and_for_what_it_holds(url: str, times: int) -> None:
    size = 2**30
    archive = Artifact(reference=url, files=(File(path="m.tar.gz", url=url, size=size),))
    ref = ModelRef.parse(url)
    roomy = host(disk_free_bytes=times * size + 2**27)
    [step] = plan_pull(ref, archive, around(host=roomy)).steps
    assert isinstance(step, Fetch)
    assert step.unpack == ("m.tar.gz",)
    with pytest.raises(DiskFullError, match=rf"needs {times}\.0 GiB"):
        plan_pull(ref, archive, around(host=host(disk_free_bytes=times * size)))
