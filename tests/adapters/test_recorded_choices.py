"""What recorded machines take of an 8B and a 70B model that come in many ways."""

from pathlib import Path

import msgspec
import pytest
from architectures import LLAMA_8B, LLAMA_70B
from recorded import sources

from nimctl.core.architecture import Architecture
from nimctl.core.catalogue import Model, Variant
from nimctl.core.choice import choose
from nimctl.core.fit import Judge
from nimctl.core.machine import Host
from nimctl.core.orders import CATALOGUE_ORDER
from nimctl.core.profile import Fit, Wish
from nimctl.core.variants import parts_of, profiles_of
from nimctl.host.observe import observe

HUB = "hf://org/model"
EVERY = ("nvfp4", "fp8", "bf16", "int4_awq")
VARIANTS = (
    Variant(backend="tensorrt_llm", precisions=EVERY, source=HUB),
    Variant(backend="vllm", precisions=EVERY, source=HUB),
)


def taken(host: Host, architecture: Architecture) -> tuple[str | None, int]:
    """The name of the profile that is taken, and how many GPUs it gets."""
    model = Model(name="m", title="M", architecture=architecture, variants=VARIANTS)
    judge = Judge(host, architecture=architecture)
    candidates = [judge.judge(profile) for profile in profiles_of(model, parts_of(host))]
    chosen = choose(candidates, Wish(), CATALOGUE_ORDER)
    if chosen is None:
        return None, 0
    return chosen.candidate.profile.name, len(chosen.candidate.gpus)


@pytest.mark.parametrize(
    ("machine", "small", "large"),
    [
        (
            "dgx-h100",
            "tensorrt_llm-h100_sxm-fp8-tp1-pp1-throughput-pytorch",
            "tensorrt_llm-h100_sxm-fp8-tp2-pp1-throughput-pytorch",
        ),
        (
            "dgx-a100",
            "tensorrt_llm-a100_sxm_40gb-bf16-tp1-pp1-throughput-pytorch",
            "tensorrt_llm-a100_sxm_40gb-bf16-tp8-pp1-throughput-pytorch",
        ),
        (
            "h100-and-t600",
            "tensorrt_llm-h100_sxm-fp8-tp1-pp1-throughput-pytorch",
            "tensorrt_llm-h100_sxm-int4_awq-tp1-pp1-throughput-pytorch",
        ),
        (
            "b200-8",
            "tensorrt_llm-b200-nvfp4-tp1-pp1-throughput-pytorch",
            "tensorrt_llm-b200-nvfp4-tp1-pp1-throughput-pytorch",
        ),
        (
            "l40s-pcie-4",
            "tensorrt_llm-l40s-fp8-tp1-pp1-throughput-pytorch",
            "tensorrt_llm-l40s-fp8-tp4-pp1-throughput-pytorch",
        ),
        (
            "gb10",
            "tensorrt_llm-gb10-nvfp4-tp1-pp1-throughput-pytorch",
            "tensorrt_llm-gb10-nvfp4-tp1-pp1-throughput-pytorch",
        ),
        ("rtx-4090-display", "tensorrt_llm-rtx_4090-fp8-tp1-pp1-throughput-pytorch", None),
        # TensorRT-LLM is not built for it, and what vLLM's images hold for it is not checked.
        ("jetson-orin", "vllm-bf16-tp1-pp1", "vllm-int4_awq-tp1-pp1"),
        # Nothing in 16 bits without bfloat16, but vLLM's int4.
        ("t4-cloud", "vllm-int4_awq-tp1-pp1", None),
        ("no-gpu", None, None),
        ("driver-hangs", None, None),
    ],
)
def test_a_recorded_machine_takes_what_suits_its_gpus(
    tmp_path: Path, machine: str, small: str | None, large: str | None
) -> None:
    host = observe(tmp_path, sources(machine, tmp_path / machine))
    assert taken(host, LLAMA_8B)[0] == small
    assert taken(host, LLAMA_70B)[0] == large


def test_slices_take_what_is_made_for_no_gpu_in_particular(tmp_path: Path) -> None:
    whole = observe(tmp_path, sources("a100-mig", tmp_path / "a100-mig"))
    slices = tuple(gpu for gpu in whole.gpus if gpu.mig_profile)
    assert slices
    host = msgspec.structs.replace(whole, gpus=slices)
    model = Model(name="m", title="M", architecture=LLAMA_8B, variants=VARIANTS)
    judge = Judge(host, architecture=LLAMA_8B)
    fits = {one.name: judge.judge(one).fit for one in profiles_of(model, parts_of(whole))}
    assert fits["tensorrt_llm-a100_sxm_80gb-bf16-tp1-pp1-throughput-pytorch"] is Fit.INCOMPATIBLE
    assert fits["vllm-bf16-tp2-pp1"] is Fit.INCOMPATIBLE
    assert fits["vllm-int4_awq-tp1-pp1"] is Fit.COMPATIBLE
