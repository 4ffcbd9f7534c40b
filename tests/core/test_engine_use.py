"""Serving with engines: one in the store is taken, one for something else never is."""

import json
from typing import Any

import msgspec
import pytest
from test_decide import REF, around
from test_decide_container import ENGINE as DOCKER
from trtllm_subjects import LLAMA, gpus, host

from nimctl.core.containers import OFFLINE_NETWORK, Image
from nimctl.core.decide import Surroundings, Target, for_engine, plan_build, plan_container
from nimctl.core.decide.trtllm import draw
from nimctl.core.engine import Engine
from nimctl.core.engine_check import built_profiles
from nimctl.core.errors import NimctlError, UsageError
from nimctl.core.facts import Artifact, File
from nimctl.core.plan import Build, LaunchContainer, Plan, WarmUp, Write
from nimctl.core.profile import Candidate, Fit, Profile
from nimctl.core.requests import ServeRequest
from nimctl.core.trtllm.kernel_cache import cache_of
from nimctl.core.trtllm.limits import LimitsWish
from nimctl.core.trtllm.machine import BuilderFacts, Installed
from nimctl.core.trtllm.releases import BUILDER_IMAGE
from nimctl.core.trtllm.subject import QUANTISED_MARK as MARK
from nimctl.core.trtllm.subject import BuildOptions

H100 = msgspec.structs.replace(host(*gpus("h100_sxm")), container_engine=DOCKER)
FILES = Artifact(
    reference=str(REF),
    files=(File(path="config.json", url="https://x", size=1, digests={"sha256": "a" * 64}),),
)
NEWER = "nvcr.io/nvidia/tensorrt-llm/release:1.4.0rc1"
IMAGE = Image(reference=BUILDER_IMAGE, id="sha256:1", architecture="amd64", size=10**9)


def target(precision: str = "bf16", **profile: Any) -> Target:
    return Target(
        ref=REF,
        model="llama",
        architecture=LLAMA,
        candidate=Candidate(
            profile=Profile(
                backend="tensorrt_llm",
                precision=precision,
                source=str(REF),
                build=True,
                **profile,
            ),
            fit=Fit.BUILDABLE,
            cached=False,
            gpus=H100.gpus,
        ),
        artifact=FILES,
    )


def surroundings(*engines: Engine, image: Image | None = IMAGE) -> Surroundings:
    facts = BuilderFacts(image=image, engines=engines)
    return around(host=H100, image=image, building=facts)


def engine_of(one: Target, options: BuildOptions | None = None, **recipe: Any) -> Engine:
    made = draw(one, options or BuildOptions(), surroundings()).design.recipe
    changed = msgspec.structs.replace(made, **recipe)
    digest = one.artifact.digest or ""
    return Engine(
        key=changed.key(digest),
        model_digest=digest,
        reference=one.artifact.reference,
        recipe=changed,
        created="2026-11-24T10:00:00+00:00",
        files=(),
    )


def serve(one: Target, *engines: Engine, **request: Any) -> Plan:
    return plan_container(ServeRequest(ref=REF, **request), one, surroundings(*engines))


def launch(plan: Plan) -> LaunchContainer:
    return next(step for step in plan.steps if isinstance(step, LaunchContainer))


def kinds(plan: Plan) -> list[str]:
    return [type(step).__name__ for step in plan.steps]


def test_without_an_engine_one_is_built_and_served() -> None:
    plan = serve(target())
    assert kinds(plan)[-4:] == ["Build", "Attach", "LaunchContainer", "Await"]
    (build,) = [step for step in plan.steps if isinstance(step, Build)]
    assert build.job is not None
    assert build.job.image == BUILDER_IMAGE
    command = launch(plan).container.command
    assert command[command.index("--backend") + 1] == "tensorrt"
    assert any(mount.source.endswith("/trtllm_engine") for mount in launch(plan).container.mounts)


def test_an_engine_in_the_store_is_served_as_it_is() -> None:
    found = engine_of(target())
    plan = serve(target(), found)
    assert "Build" not in kinds(plan)
    assert any(f"its engine {found.key[:12]} is in the store" in note for note in plan.notes)


def test_an_engine_with_larger_limits_is_served_too() -> None:
    larger = engine_of(
        target(), BuildOptions(limits=LimitsWish(max_batch_size=1024, max_num_tokens=16384))
    )
    assert "Build" not in kinds(serve(target(), larger))


@pytest.mark.parametrize(
    "recipe",
    [
        {"compute_capability": "8.9"},
        {"gpu": "h100_pcie"},
        {"tensorrt_version": "10.13.3"},
        {"builder": "tensorrt_llm 1.1.0"},
        {"tp": 2},
    ],
)
def test_an_engine_for_something_else_is_built_anew(recipe: dict[str, Any]) -> None:
    assert "Build" in kinds(serve(target(), engine_of(target(), **recipe)))


def test_of_the_limits_those_count_that_were_asked_for() -> None:
    small = engine_of(target(), BuildOptions(limits=LimitsWish(max_batch_size=16)))
    assert "Build" not in kinds(serve(target(), small))
    assert "Build" not in kinds(serve(target(), small, max_num_seqs=16))
    assert "Build" in kinds(serve(target(), small, max_num_seqs=17))


def test_the_engine_has_to_be_of_the_image_that_serves() -> None:
    found = engine_of(target())
    other = "nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc15"
    plan = serve(target(), found, image=other)
    (build,) = [step for step in plan.steps if isinstance(step, Build)]
    assert build.recipe.tensorrt_version == "10.15.1"
    assert build.job is not None
    assert build.job.image == other


def test_a_release_without_engines_serves_the_checkpoint_with_its_options() -> None:
    plan = serve(target(), image="nvcr.io/nvidia/tensorrt-llm/release:1.4.0rc1")
    container = launch(plan).container
    assert container.command[container.command.index("--backend") + 1] == "pytorch"
    assert "--extra_llm_api_options" in container.command
    assert any(mount.source.endswith("/llm-options.yaml") for mount in container.mounts)
    (written,) = [step for step in plan.steps if isinstance(step, Write)]
    assert json.loads(written.text)["max_batch_size"] == 512


def test_what_pytorch_compiles_is_kept_for_just_the_same_server() -> None:
    def cache(**changes: Any) -> str | None:
        image = msgspec.structs.replace(IMAGE, **changes.pop("image", {}))
        request = ServeRequest(ref=REF, **changes.pop("request", {}))
        profile = Profile(
            **{
                "backend": "tensorrt_llm",
                "precision": "fp8",
                "source": str(REF),
                "runtime": "pytorch",
                **changes,
            }
        )
        one = target()
        candidate = msgspec.structs.replace(
            one.candidate, profile=profile, fit=Fit.COMPATIBLE, cached=True
        )
        plan = plan_container(
            request,
            msgspec.structs.replace(one, candidate=candidate),
            surroundings(image=image),
        )
        container = launch(plan).container
        mounted = [mount for mount in container.mounts if mount.target == "/cache"]
        assert all(not mount.read_only for mount in mounted)
        assert ("TLLM_AUTOTUNER_CACHE_PATH" in container.environment) == bool(mounted)
        return mounted[0].source if mounted else None

    assert cache()
    assert cache() == cache()
    assert cache() != cache(image={"id": "sha256:2"})
    assert cache() == cache(target="latency")
    assert cache() != cache(precision="nvfp4")
    assert cache() != cache(request={"max_num_seqs": 8})
    assert cache() != cache(request={"engine_arguments": ("--max_beam_width", "2")})
    assert "/cache" not in [mount.target for mount in launch(serve(target())).container.mounts]


def test_quantising_for_a_server_needs_texts_as_well() -> None:
    with pytest.raises(UsageError, match="needs calibration data"):
        serve(target("fp8"))
    assert "Build" not in kinds(serve(target("fp8"), engine_of(target("fp8"))))


def test_an_image_without_a_version_cannot_be_built_with() -> None:
    with pytest.raises(NimctlError, match="does not say which TensorRT-LLM"):
        serve(target(), image="own/server:latest")


READY = Profile(backend="tensorrt_llm", precision="fp8", source="hf://n/m-FP8", runtime="pytorch")
QUANTISED = Profile(backend="tensorrt_llm", precision="fp8", source="hf://n/m", build=True)
PLAIN = Profile(backend="tensorrt_llm", precision="bf16", source="hf://n/m", build=True)
ON_CPU = Profile(backend="llama_cpp", precision="q8_0", source="hf://n/m", build=True)
GGUF = Profile(backend="llama_cpp", precision="q4_k_m", source="hf://n/m-GGUF")


def chosen(
    *profiles: Profile, calibration: bool = False, **options: Any
) -> tuple[str | None, str | None, bool] | None:
    candidates = [Candidate(profile=one, fit=Fit.BUILDABLE, cached=False) for one in profiles]
    found = for_engine(candidates, BuildOptions(**options), has_calibration=calibration)
    if found is None:
        return None
    return found.profile.source, found.profile.runtime, found.profile.build


def test_what_comes_quantised_is_built_from_without_texts() -> None:
    assert chosen(READY, QUANTISED, PLAIN) == ("hf://n/m-FP8", None, True)


def test_texts_are_for_what_has_to_be_quantised() -> None:
    assert chosen(READY, QUANTISED, PLAIN, calibration=True) == ("hf://n/m", None, True)
    assert chosen(READY, PLAIN, calibration=True) == ("hf://n/m-FP8", None, True)


def test_pytorch_is_served_what_it_can_serve_as_it_comes() -> None:
    assert chosen(PLAIN, READY, strategy="pytorch") == ("hf://n/m-FP8", "pytorch", False)
    assert chosen(PLAIN, strategy="pytorch") == ("hf://n/m", None, True)


def test_other_engines_are_built_as_before_and_ready_files_not_at_all() -> None:
    assert chosen(GGUF, ON_CPU) == ("hf://n/m", None, True)
    assert chosen(GGUF) is None


def test_an_engine_that_no_profile_stands_for_is_a_profile_of_its_own() -> None:
    found = engine_of(target(), tp=2)
    pinned = {str(REF): FILES}
    (built,) = built_profiles([target().candidate.profile], pinned, [found, found])
    assert (built.tp, built.gpu, built.build, built.source) == (2, "h100_sxm", True, str(REF))
    assert built_profiles([built], pinned, [found]) == ()
    assert built_profiles([], {"hf://other/model": None}, [found]) == ()


def warm_up(plan: Plan) -> WarmUp:
    return next(step for step in plan.steps if isinstance(step, WarmUp))


PYTORCH = BuildOptions(strategy="pytorch")


def build(
    one: Target, options: BuildOptions = PYTORCH, *, image: Image | None = IMAGE, **facts: Any
) -> Plan:
    here = BuilderFacts(image=image, user="1000:1000", **facts)
    return plan_build(one, around(host=H100, port=4321, building=here), options)


def test_a_checkpoint_is_built_then_its_server_is_started_once() -> None:
    plan = build(target())
    assert kinds(plan)[-3:] == ["Build", "Attach", "WarmUp"]
    assert any(note.startswith("warm-up: its server is started once") for note in plan.notes)
    step = warm_up(plan)
    assert step.ready.until == "token"
    assert step.launch.container.network == OFFLINE_NETWORK
    (port,) = step.launch.container.ports
    assert (port.address, port.host) == ("127.0.0.1", 4321)
    assert step.launch.server.url == "http://127.0.0.1:4321"


def test_the_server_that_comes_later_has_the_directory_of_the_warm_up() -> None:
    limits = LimitsWish(max_batch_size=16)
    options = msgspec.structs.replace(PYTORCH, image=NEWER, limits=limits)
    first = warm_up(build(target(), options)).launch
    engine = engine_of(target(), options)
    later = launch(serve(target(), engine, image=NEWER))
    mounts = {mount.target: mount for mount in first.container.mounts}
    assert mounts["/cache"] == {mount.target: mount for mount in later.container.mounts}["/cache"]
    assert not mounts["/cache"].read_only
    assert first.container.command == later.container.command
    assert first.cache == later.cache
    assert mounts["/models/llama"].read_only


def test_what_was_built_for_a_checkpoint_that_comes_quantised_is_served_with_it() -> None:
    ready = target("fp8")
    profile = msgspec.structs.replace(ready.candidate.profile, build=False, runtime="pytorch")
    ready = msgspec.structs.replace(
        ready,
        candidate=msgspec.structs.replace(ready.candidate, profile=profile, fit=Fit.COMPATIBLE),
        artifact=msgspec.structs.replace(
            FILES, files=(*FILES.files, msgspec.structs.replace(FILES.files[0], path=MARK))
        ),
    )
    options = msgspec.structs.replace(PYTORCH, limits=LimitsWish(max_batch_size=16))
    first = warm_up(build(ready, options)).launch
    engine = engine_of(ready, options)
    plan = serve(ready, engine)
    assert kinds(plan)[-4:] == ["Attach", "Write", "LaunchContainer", "Await"]
    (written,) = [step for step in plan.steps if isinstance(step, Write)]
    assert json.loads(written.text)["max_batch_size"] == 16
    assert launch(plan).cache == first.cache
    # Not for more than it was built for, and not for another image.
    assert "Write" not in kinds(serve(ready, engine, max_num_seqs=17))
    assert "Write" not in kinds(serve(ready, engine, image="own/server:latest"))


def test_the_options_of_an_engine_in_the_store_are_its_own() -> None:
    options = msgspec.structs.replace(PYTORCH, image=NEWER, limits=LimitsWish(max_batch_size=16))
    plan = serve(target(), engine_of(target(), options), image=NEWER)
    (written,) = [step for step in plan.steps if isinstance(step, Write)]
    assert json.loads(written.text)["max_batch_size"] == 16


def test_an_image_that_is_still_to_come_names_the_directory_when_it_is_here() -> None:
    plan = build(target(), image=None)
    assert kinds(plan)[-4:] == ["Build", "PullImage", "Attach", "WarmUp"]
    step = warm_up(plan)
    assert step.launch.cache is not None
    assert step.launch.cache.image is None
    assert cache_of(step.launch.container) is None


def test_no_server_is_started_where_none_is_asked_for_or_none_can_be() -> None:
    cold = msgspec.structs.replace(PYTORCH, warm_up=False)
    assert "WarmUp" not in kinds(build(target(), cold))
    assert "WarmUp" not in kinds(build(target(), BuildOptions()))
    offline = build(target(), image=None, may_pull=False)
    assert "WarmUp" not in kinds(offline)
    assert any("no warm-up" in note and "--offline" in note for note in offline.notes)
    installed = Installed(version="1.2.1", examples="/examples")
    local = msgspec.structs.replace(PYTORCH, builder="local")
    here = build(target(), local, installed=installed)
    assert "WarmUp" not in kinds(here)
    assert any("no warm-up: servers run in a container" in note for note in here.notes)
