"""How an engine is had: by which strategy, and why that one."""

from collections.abc import Iterator

from nimctl.core.errors import UnsupportedModelError, UsageError
from nimctl.core.trtllm import families
from nimctl.core.trtllm.releases import BUILDER_IMAGE, BUILDER_VERSION, REMOVED_IN, builds_engines
from nimctl.core.trtllm.subject import Strategy, Subject
from nimctl.core.value import Value

_REMOVAL = f"TensorRT-LLM removed engines in {REMOVED_IN}"


class Choice(Value):
    """A strategy, why it was chosen, and why others were not."""

    strategy: Strategy
    reason: str
    against: tuple[str, ...] = ()


def choose(
    subject: Subject, wish: Strategy | None, *, engine_runs: bool, checkpoint_runs: bool
) -> Choice:
    """Choose by the release that builds, by the model and by the GPU.

    `engine_runs` and `checkpoint_runs` tell whether the GPU has the precision for an engine, and
    for a checkpoint that the PyTorch backend serves. What is in the store already is looked for
    under the key that this choice gives, so `prebuilt` chooses as if nothing was asked for.

    Raises:
        UsageError: A strategy was asked for that cannot do it.
        UnsupportedModelError: None can.
    """
    against: dict[Strategy, tuple[str, ...]] = {
        "tensorrt": tuple(_against_tensorrt(subject, runs=engine_runs)),
        "pytorch": tuple(_against_pytorch(subject, runs=checkpoint_runs)),
        "llama_cpp": ("it is for the backend llama_cpp",),
    }
    if wish in against:
        if against[wish]:
            raise UsageError(
                f"the strategy {wish} cannot give an engine of {subject.model}",
                cause="; ".join(against[wish]),
                hint="leave --strategy out to let nimctl choose",
            )
        return Choice(strategy=wish, reason="--strategy asks for it")
    if not against["tensorrt"]:
        return Choice(strategy="tensorrt", reason=_reason(subject))
    if not against["pytorch"]:
        return Choice(
            strategy="pytorch",
            reason="the PyTorch backend serves the checkpoint, with options for this GPU",
            against=against["tensorrt"],
        )
    raise UnsupportedModelError(
        f"nothing makes {subject.model} run on {subject.gpus[0].name} as {subject.profile.name}",
        cause="; ".join((*against["tensorrt"], *against["pytorch"])),
        hint=f"nimctl list-profiles {subject.model}",
    )


def _reason(subject: Subject) -> str:
    is_pinned = subject.version == BUILDER_VERSION
    last = ", the last stable release that does" if is_pinned else ""
    return f"TensorRT-LLM {subject.version} builds engines{last}; {_REMOVAL}"


def _against_tensorrt(subject: Subject, *, runs: bool) -> Iterator[str]:
    profile, gpu = subject.profile, subject.gpus[0]
    if subject.form == "engine":
        yield "the files are an engine already"
        return
    if not builds_engines(subject.version):
        yield f"{_REMOVAL}, this is {subject.version}; {BUILDER_IMAGE} still builds them"
    if not runs:
        yield f"engines in {profile.precision} do not run on {gpu.name} ({gpu.compute_capability})"
    if subject.form != "trtllm_checkpoint":
        yield from families.obstacles(
            subject.class_name,
            profile.precision or "",
            pp=profile.pp,
            quantised=subject.form == "quantised",
        )


def _against_pytorch(subject: Subject, *, runs: bool) -> Iterator[str]:
    profile, gpu = subject.profile, subject.gpus[0]
    if subject.form in ("engine", "trtllm_checkpoint"):
        yield "the PyTorch backend serves Hugging Face checkpoints only"
    if not runs:
        yield (
            f"the PyTorch backend has no {profile.precision} on {gpu.name} "
            f"({gpu.compute_capability})"
        )
