"""LoRA adapters of a plan: checked against the model, and what else a server needs for them."""

import json

from nimctl.core.decide.target import Surroundings, Target
from nimctl.core.errors import UsageError
from nimctl.core.lora import check_adapter
from nimctl.core.serving import Adapter
from nimctl.core.serving.tensorrt_llm import lora_options, lora_request
from nimctl.core.value import Value

_TUNABLE = ("llm", "vlm")


class Adapters(Value):
    """The adapters that were checked, and what to tell of them.

    `options` is the content of TensorRT-LLM's options file, None where there is none.
    """

    checked: tuple[Adapter, ...] = ()
    notes: tuple[str, ...] = ()
    options: str | None = None


def checked_adapters(target: Target, around: Surroundings, *, engine: str | None) -> Adapters:
    """Check the adapters of a request; `engine` is what would be served.

    Raises:
        UsageError: The model or the backend cannot take one.
        VerificationError: Its files are malformed.
    """
    if not around.adapters:
        return Adapters()
    backend = target.candidate.profile.backend
    if target.family not in _TUNABLE:
        raise UsageError(
            f"{target.model} takes no LoRA adapters",
            cause=f"it is no language model but of the family {target.family}",
            hint="leave --lora out",
        )
    found = [
        check_adapter(
            facts,
            backend=backend,
            reference=target.artifact.reference,
            architecture=target.architecture,
        )
        for facts in around.adapters
    ]
    adapters = tuple(one for one, _ in found)
    notes = tuple(doubt for _, doubt in found if doubt)
    if backend != "tensorrt_llm":
        return Adapters(checked=adapters, notes=notes)
    if engine:
        raise UsageError(
            f"the engine of profile {target.candidate.profile.name} takes no adapters",
            cause="trtllm-build makes one that does only when it is told to, by --lora_plugin",
            hint="--backend vllm",
        )
    return Adapters(
        checked=adapters,
        notes=(*notes, *(_how_to_ask(one, number) for number, one in enumerate(adapters))),
        options=lora_options(adapters),
    )


def _how_to_ask(adapter: Adapter, number: int) -> str:
    body = json.dumps({"lora_request": lora_request(adapter, number)})
    return f"requests for the adapter {adapter.name} have {body[1:-1]}"
