"""What nimctl emits is what TensorRT-LLM takes: the recorded flags are the contract."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from trtllm_subjects import CALIBRATION, FLAGS, GIB, SHOP, gpu_of, subject

from nimctl.catalog import Catalog, packaged_directory
from nimctl.core.architecture import Architecture
from nimctl.core.errors import NimctlError
from nimctl.core.gpus import PARTS, GpuPart
from nimctl.core.memory import ANY_CAPACITY, Limits, default_limits
from nimctl.core.profile import Profile
from nimctl.core.trtllm.design import design
from nimctl.core.trtllm.families import FAMILIES
from nimctl.core.trtllm.pipeline import Command
from nimctl.core.trtllm.subject import BuildOptions, Form, KvCache, Subject

ROOT = Path(__file__).parents[3]
RECORDED = {
    "trtllm-build": "trtllm-build",
    "convert_checkpoint.py": "convert_checkpoint.llama",
    "quantize.py": "quantize.py",
}
PRECISIONS = ("bf16", "fp16", "fp8", "nvfp4", "int4_awq", "w4a8_awq", "int8_sq")
DEGREES = (1, 2, 4, 8)


def kinds_of_gpus() -> list[GpuPart]:
    """One GPU of each compute capability and class of memory: nothing else of it matters."""

    def limits(kind: GpuPart) -> Limits:
        return default_limits(subject().architecture, kind.memory_bytes or 0, ANY_CAPACITY, tp=2)

    return list({(one.compute_capability, limits(one)): one for one in PARTS}.values())


def architectures() -> Iterator[Architecture]:
    """Those of the catalogue's LLMs, and of every family that has a way to an engine."""
    of_catalogue = [model.architecture for model in Catalog(packaged_directory()).all()]
    classes = [name for family in FAMILIES for name in family.classes]
    yield from (one for one in of_catalogue if one is not None and one.class_name)
    for name in classes:
        yield msgspec.structs.replace(subject().architecture, class_name=name)


def subjects() -> Iterator[tuple[Subject, BuildOptions]]:
    asked: tuple[KvCache | None, ...] = (None, "fp8")
    for architecture in architectures():
        for kind in kinds_of_gpus():
            for precision in PRECISIONS:
                for tp in DEGREES:
                    one = _subject(architecture, kind, precision, tp)
                    for kv_cache in asked:
                        yield one, BuildOptions(calibration=CALIBRATION, kv_cache=kv_cache)


def _subject(architecture: Architecture, kind: GpuPart, precision: str, tp: int) -> Subject:
    form: Form = "quantised" if precision in ("fp8", "nvfp4") and tp == 1 else "checkpoint"
    return Subject(
        model="m",
        profile=Profile(
            backend="tensorrt_llm",
            precision=precision,
            tp=tp,
            target="latency" if tp == DEGREES[-1] else "throughput",
            build=True,
        ),
        architecture=architecture,
        form=form,
        gpus=tuple(gpu_of(kind, index) for index in range(tp)),
        memory_bytes=kind.memory_bytes or 128 * GIB,
        version="1.2.1",
    )


def emitted() -> tuple[set[tuple[str, str, str]], int]:
    """Each (tool, flag, value) that any design has, and the number of designs."""
    found: set[tuple[str, str, str]] = set()
    count = 0
    for one, options in subjects():
        try:
            made = design(one, options, SHOP)
        except NimctlError:
            continue
        count += 1
        for command in made.job.commands:
            found |= set(uses(command))
    return found, count


def uses(command: Command) -> Iterator[tuple[str, str, str]]:
    tool, rest = _tool(command)
    words = iter(rest)
    for word in words:
        entry = FLAGS[RECORDED[tool]].get(word) if tool in RECORDED else None
        is_switch = entry is not None and entry.get("action") == "store_true"
        if tool in RECORDED:
            yield tool, word, "" if is_switch else next(words)


def _tool(command: Command) -> tuple[str, list[str]]:
    first, *rest = command.argv
    if first == "python3":
        return Path(rest[0]).name, rest[1:]
    return first, rest


def allows(entry: dict[str, Any], value: str) -> bool:
    if entry.get("action") == "store_true":
        return value == ""
    if entry["choices"] and value not in entry["choices"]:
        return False
    kinds = {"int": int, "float": float}
    try:
        kinds.get(entry["type"], str)(value)
    except ValueError:
        return False
    return True


def test_every_emitted_flag_and_value_is_one_that_the_tools_take() -> None:
    found, count = emitted()
    wrong = [
        (tool, flag, value)
        for tool, flag, value in sorted(found)
        if flag not in FLAGS[RECORDED[tool]] or not allows(FLAGS[RECORDED[tool]][flag], value)
    ]
    assert wrong == []
    assert count > 1000
    assert {tool for tool, _, _ in found} == set(RECORDED)


def test_the_scripts_without_a_record_get_only_flags_that_they_share() -> None:
    # Read in examples/models/core/{qwen,phi}/convert_checkpoint.py; see tests/data/trtllm_flags.md.
    shared = {"--model_dir", "--output_dir", "--dtype", "--tp_size", "--pp_size", "--workers"}
    for name in ("Qwen2ForCausalLM", "Qwen3ForCausalLM", "Phi3ForCausalLM"):
        made = design(subject("bf16", class_name=name), BuildOptions(), SHOP)
        convert = made.job.commands[0]
        assert convert.phase == "convert"
        assert {flag for _, flag, _ in uses(convert)} == shared


def test_the_record_knows_wrong_values() -> None:
    gemm = FLAGS["trtllm-build"]["--gemm_plugin"]
    assert allows(gemm, "nvfp4")
    assert not allows(gemm, "int4")
    assert not allows(FLAGS["trtllm-build"]["--max_batch_size"], "many")


@pytest.mark.parametrize("tool", RECORDED)
def test_the_package_has_the_same_flags_as_the_record(tool: str) -> None:
    from nimctl.core.trtllm.flag_table import FLAGS as SHIPPED  # noqa: PLC0415 - only here

    names = {name for name in FLAGS[RECORDED[tool]] if name.startswith("--")}
    assert set(SHIPPED[tool]) == names


def test_the_shipped_table_is_what_the_tool_makes_of_the_record() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "trtllm_flags.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
