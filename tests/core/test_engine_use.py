"""Serving with engines: one in the store is taken, one for something else never is."""

import json
from typing import Any

import msgspec
import pytest
from test_decide import REF, around
from test_decide_container import ENGINE as DOCKER
from trtllm_subjects import LLAMA, gpus, host

from nimctl.core.containers import Image
from nimctl.core.decide import Surroundings, Target, for_engine, plan_container
from nimctl.core.decide.trtllm import draw
from nimctl.core.engine import Engine
from nimctl.core.engine_check import built_profiles
from nimctl.core.errors import NimctlError, UsageError
from nimctl.core.facts import Artifact, File
from nimctl.core.plan import Build, LaunchContainer, Plan, Write
from nimctl.core.profile import Candidate, Fit, Profile
from nimctl.core.requests import ServeRequest
from nimctl.core.trtllm.limits import LimitsWish
from nimctl.core.trtllm.machine import BuilderFacts
from nimctl.core.trtllm.releases import BUILDER_IMAGE
from nimctl.core.trtllm.subject import BuildOptions

H100 = msgspec.structs.replace(host(*gpus("h100_sxm")), container_engine=DOCKER)
FILES = Artifact(
    reference=str(REF),
    files=(File(path="config.json", url="https://x", size=1, digests={"sha256": "a" * 64}),),
)
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
        profile = Profile(
            backend="tensorrt_llm",
            precision="fp8",
            source=str(REF),
            runtime="pytorch",
            **changes,
        )
        one = target()
        candidate = msgspec.structs.replace(
            one.candidate, profile=profile, fit=Fit.COMPATIBLE, cached=True
        )
        plan = plan_container(
            ServeRequest(ref=REF),
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
    assert cache() != cache(target="latency")
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
