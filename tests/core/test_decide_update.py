"""Plans that replace replicas: what stays, what changes, and what is refused."""

from typing import Any

import msgspec
import pytest
from test_decide import around
from test_decide_container import GPUS, VLLM, image, kinds, machine, serve, target

from nimctl.core.containers import Devices
from nimctl.core.decide import keeping_profile, place_of, plan_update, updated_request
from nimctl.core.errors import HardwareError, NotFoundError, UsageError
from nimctl.core.machine import Gpu
from nimctl.core.plan import LaunchContainer, Plan, Replace, labelled
from nimctl.core.profile import Wish
from nimctl.core.requests import UpdateRequest
from nimctl.core.servers import REQUEST_LABEL, Member, server_of

SECRET = {"HF_TOKEN": "hf-secret"}


def members(**request: Any) -> tuple[Member, ...]:
    """The replicas of a plan, as their containers' labels tell of them afterwards."""
    asked = {"replicas": 2, "name": "m", "environment": SECRET, **request}
    plan = serve(request=asked, replica_ports=(40001, 40002), haproxy="haproxy")
    launches = [step for step in plan.steps if isinstance(step, LaunchContainer)]
    return tuple(
        Member(server=server_of(labelled(one).labels), container=labelled(one)) for one in launches
    )


def update(
    old: tuple[Member, ...] | None = None,
    gpus: tuple[Gpu, ...] = GPUS,
    profile: dict[str, Any] | None = None,
    **changes: Any,
) -> Plan:
    asked = UpdateRequest(name="m", **changes)
    replicas = old or members()
    request = updated_request(asked, replicas[0])
    surroundings = around(host=machine(gpus=gpus), image=image(request.image or VLLM))
    return plan_update(asked, request, target(profile=profile or {}), surroundings, replicas)


def replacements(plan: Plan) -> list[Replace]:
    return [step for step in plan.steps if isinstance(step, Replace)]


def test_a_replica_keeps_its_name_port_gpus_and_variables() -> None:
    old = members()
    plan = update(old, image="vllm/vllm-openai:v2", environment={"A": "1"})
    assert kinds(plan)[-2:] == ["Replace", "Replace"]
    for before, step in zip(old, replacements(plan), strict=True):
        after = step.launch.container
        assert (after.name, after.ports, after.devices) == (
            before.container.name,
            before.container.ports,
            before.container.devices,
        )
        assert after.image == "vllm/vllm-openai:v2"
        assert {**SECRET, "A": "1"}.items() <= after.environment.items()


def test_the_request_is_kept_without_its_secrets_and_carries_over() -> None:
    labels = members()[0].container.labels
    assert "hf-secret" not in "".join(labels.values())
    assert "HF_TOKEN" in labels[REQUEST_LABEL]
    again = replacements(update(image="other/image"))[0].launch
    old = Member(server=server_of(labelled(again).labels), container=labelled(again))
    kept = updated_request(UpdateRequest(name="m"), old)
    assert (kept.image, kept.environment, kept.replicas) == ("other/image", SECRET, 2)


def test_the_profile_stays_unless_another_is_named() -> None:
    old = members()[0]
    assert updated_request(UpdateRequest(name="m"), old).wish.profile == old.server.profile
    assert updated_request(UpdateRequest(name="m", profile="p"), old).wish.profile == "p"


def test_a_nim_keeps_its_profile_and_what_it_was_asked_for() -> None:
    replica = members(wish=Wish(precision="fp8"))[0]
    nim = Member(
        server=msgspec.structs.replace(replica.server, backend="nim", profile="of-the-manifest"),
        container=msgspec.structs.replace(
            replica.container, environment={**SECRET, "NIM_MODEL_PROFILE": "3a3a"}
        ),
    )

    def wishes(**changes: Any) -> tuple[Wish, Wish]:
        asked = UpdateRequest(name="m", **changes)
        request = updated_request(asked, nim)
        return request.wish, keeping_profile(asked, request, nim).wish

    asked = Wish(precision="fp8", backend="nim")
    pinned, named = (msgspec.structs.replace(asked, profile=one) for one in ("3a3a", "p"))
    assert wishes() == (asked, pinned)
    assert wishes(profile="p") == (named, named)
    # The next release may have others.
    assert wishes(image="nim:2") == (asked, asked)


def test_replicas_do_not_keep_their_own_gpus_from_being_used() -> None:
    full = tuple(
        msgspec.structs.replace(gpu, memory_used_bytes=gpu.memory_total_bytes, memory_free_bytes=0)
        for gpu in GPUS
    )
    first, second = members()
    for member in (first, second):
        (gpu,) = place_of(member, machine(gpus=full)).gpus
        assert member.container.devices == Devices(uuids=(gpu.uuid,))
        assert gpu.memory_free_bytes == gpu.memory_total_bytes
    # Without GPUs the machine is what it is.
    on_cpu = Member(
        server=first.server, container=msgspec.structs.replace(first.container, devices=None)
    )
    assert place_of(on_cpu, machine(gpus=full)).gpus == full


def test_what_does_not_go_while_it_serves_is_refused() -> None:
    with pytest.raises(HardwareError, match="needs 2 GPUs"):
        update(profile={"tp": 2})
    with pytest.raises(HardwareError, match="cannot be used any more"):
        update(gpus=GPUS[:1])
    old = msgspec.structs.replace(members()[0].server, health_path="/v1/health/ready")
    moved = tuple(msgspec.structs.replace(one, server=old) for one in members())
    with pytest.raises(UsageError, match="cannot become vllm while it serves"):
        update(moved)


def test_one_replica_is_replaced_with_a_warning() -> None:
    notes = update(members(replicas=1, certificate="/tls.pem")).notes
    assert any("has one replica" in note for note in notes)


def test_labels_of_another_version_are_told_apart() -> None:
    bare = msgspec.structs.replace(members()[0].container, labels={})
    with pytest.raises(UsageError, match="is not known"):
        updated_request(UpdateRequest(name="m"), Member(server=members()[0].server, container=bare))


def test_the_router_is_brought_where_the_program_is_not() -> None:
    asked = {"replicas": 2}
    brought = kinds(serve(request=asked, replica_ports=(1, 2)))
    assert brought[0] == "PullImage"
    there = serve(request=asked, replica_ports=(1, 2), has_router_image=True)
    assert "PullImage" not in kinds(there)
    with pytest.raises(NotFoundError, match="neither the program haproxy nor the image"):
        serve(request={**asked, "pull": "never"}, replica_ports=(1, 2))
    # What the engine starts again after a boot finds its router only if that is started again too.
    again = serve(request={**asked, "restarts": True}, replica_ports=(1, 2), haproxy="haproxy")
    launches = [step for step in again.steps if isinstance(step, LaunchContainer)]
    assert launches[-1].container.restart == "unless-stopped"
