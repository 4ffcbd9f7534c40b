"""Which commands make which engine."""

import json

import msgspec
import pytest
from trtllm_subjects import CALIBRATION, LLAMA, SHOP, subject

from nimctl.core.engine_check import differences
from nimctl.core.errors import HardwareError, UnsupportedModelError, UsageError
from nimctl.core.trtllm.design import Design, design
from nimctl.core.trtllm.kernel_cache import KernelCache
from nimctl.core.trtllm.limits import LimitsWish
from nimctl.core.trtllm.overrides import parse_settings
from nimctl.core.trtllm.releases import BUILDER_IMAGE
from nimctl.core.trtllm.serve_options import merged
from nimctl.core.trtllm.subject import BuildOptions, Form, KvCache, Subject

CALIBRATED = BuildOptions(calibration=CALIBRATION)


def lines(made: Design) -> list[str]:
    return [command.line for command in made.job.commands]


def build_line(one: Subject, options: BuildOptions = CALIBRATED) -> str:
    return lines(design(one, options, SHOP))[-1]


def test_bf16_is_converted_and_built() -> None:
    made = design(subject("bf16"), BuildOptions(), SHOP)
    assert lines(made) == [
        (
            "python3 /app/tensorrt_llm/examples/models/core/llama/convert_checkpoint.py "
            "--model_dir /checkpoint --output_dir /work/trtllm_checkpoint "
            "--dtype bfloat16 --tp_size 1 --pp_size 1 --workers 1"
        ),
        (
            "trtllm-build --checkpoint_dir /work/trtllm_checkpoint --output_dir /engine "
            "--output_timing_cache /work/model.cache "
            "--max_batch_size 512 --max_num_tokens 8192 --max_seq_len 8192 --max_beam_width 1 "
            "--gemm_plugin auto --use_paged_context_fmha enable --multiple_profiles enable "
            "--workers 1"
        ),
    ]
    assert made.job.outputs == ("config.json", "rank0.engine")
    assert made.job.calibration is None


def test_fp8_is_calibrated_with_local_data_and_an_fp8_kv_cache() -> None:
    made = design(subject("fp8", tp=2), CALIBRATED, SHOP)
    quantise, build = lines(made)
    assert quantise == (
        "python3 /app/tensorrt_llm/examples/quantization/quantize.py "
        "--model_dir /checkpoint --output_dir /work/trtllm_checkpoint "
        "--calib_dataset /calibration --dtype auto --qformat fp8 --kv_cache_dtype fp8 "
        "--tp_size 2 --pp_size 1 --calib_size 512"
    )
    assert "--gemm_plugin disable" in build
    assert "--reduce_fusion enable --user_buffer enable" in build
    assert "--workers 2" in build
    assert made.job.outputs == ("config.json", "rank0.engine", "rank1.engine")
    assert made.job.calibration == CALIBRATION.path
    assert made.recipe.calibration == CALIBRATION.sha256


def test_a_checkpoint_that_comes_quantised_is_only_converted() -> None:
    convert, build = lines(design(subject("nvfp4", gpu="b200", form="quantised"), CALIBRATED, SHOP))
    assert "--dtype auto --tp_size 1 --pp_size 1 --use_nvfp4 --fp8_kv_cache --workers 1" in convert
    assert "--gemm_plugin nvfp4" in build


def test_a_trtllm_checkpoint_needs_the_build_alone() -> None:
    (build,) = lines(design(subject("fp8", form="trtllm_checkpoint"), BuildOptions(), SHOP))
    assert "--checkpoint_dir /checkpoint" in build


def test_16_bits_with_an_fp8_kv_cache_are_calibrated() -> None:
    options = msgspec.structs.replace(CALIBRATED, kv_cache="fp8")
    first = lines(design(subject("bf16"), options, SHOP))[0]
    assert "--dtype bfloat16 --qformat full_prec --kv_cache_dtype fp8" in first


def test_for_latency_the_batch_is_small_and_the_kernels_are_others() -> None:
    line = build_line(subject("fp8", target="latency"))
    assert "--max_batch_size 64" in line
    assert "--gemm_swiglu_plugin fp8 --low_latency_gemm_plugin fp8" in line
    assert "low_latency" not in build_line(subject("fp8", target="latency", gpu="l40s"))


@pytest.mark.parametrize(
    ("gpu", "tp", "limits"),
    [
        ("l4", 1, (64, 4096)),
        ("l40s", 1, (128, 8192)),
        ("h100_sxm", 1, (512, 8192)),
        ("h200", 2, (512, 16384)),
    ],
)
def test_limits_follow_the_memory_of_a_gpu(gpu: str, tp: int, limits: tuple[int, int]) -> None:
    line = build_line(subject("fp8", gpu=gpu, tp=tp))
    assert f"--max_batch_size {limits[0]} --max_num_tokens {limits[1]} " in line


def test_limits_shrink_until_the_engine_fits() -> None:
    # 15 GiB of weights in 22 GiB leave no room for 64 requests at once.
    roomy = design(subject("bf16", gpu="rtx_4090"), BuildOptions(), SHOP).recipe.limits
    tight = design(subject("bf16", gpu="l4"), BuildOptions(), SHOP).recipe.limits
    assert tight["max_batch_size"] <= roomy["max_batch_size"]
    assert tight["max_seq_len"] == 8192


@pytest.mark.parametrize("narrow", ["fp8", "int8"])
def test_a_narrower_kv_cache_holds_longer_requests(narrow: KvCache) -> None:
    # 15 GiB of weights in 22 GiB: the rest holds 65,536 tokens in 8 bits, and not in 16.
    def limits(kv_cache: KvCache | None) -> dict[str, int]:
        wish = LimitsWish(max_seq_len=65_536)
        options = BuildOptions(kv_cache=kv_cache, calibration=CALIBRATION, limits=wish)
        return design(subject("bf16", gpu="l4"), options, SHOP).recipe.limits

    assert limits(narrow)["max_seq_len"] == 65_536
    wide: KvCache | None
    for wide in (None, "auto"):
        with pytest.raises(HardwareError, match="for 65536 tokens does not fit"):
            limits(wide)


def test_what_does_not_fit_in_any_size_is_refused() -> None:
    big = msgspec.structs.replace(
        subject("bf16"), architecture=msgspec.structs.replace(LLAMA, parameters=70_000_000_000)
    )
    with pytest.raises(HardwareError) as caught:
        design(big, BuildOptions(), SHOP)
    assert "does not fit" in caught.value.message
    assert "--tp" in (caught.value.hint or "")


def test_the_limit_that_was_asked_for_is_named_where_it_does_not_fit() -> None:
    options = BuildOptions(limits=LimitsWish(max_batch_size=100_000_000))
    with pytest.raises(HardwareError) as caught:
        design(subject("bf16"), options, SHOP)
    assert "100,000,000 requests" in (caught.value.cause or "")
    assert (caught.value.hint or "").endswith("a smaller --max-batch-size")


def test_every_limit_can_be_said() -> None:
    wish = LimitsWish(max_batch_size=3, max_num_tokens=2048, max_seq_len=4000, max_beam_width=4)
    line = build_line(subject(), msgspec.structs.replace(CALIBRATED, limits=wish))
    assert "--max_batch_size 3 --max_num_tokens 2048 --max_seq_len 4000 --max_beam_width 4" in line


def test_tokens_that_no_step_can_have_are_left_out_as_the_builder_does() -> None:
    wish = LimitsWish(max_batch_size=2, max_seq_len=512)
    line = build_line(subject(), msgspec.structs.replace(CALIBRATED, limits=wish))
    assert "--max_batch_size 2 --max_num_tokens 1024 --max_seq_len 512" in line


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (LimitsWish(max_seq_len=200_000), "longer than the model's context"),
        (LimitsWish(max_batch_size=0), "--max-batch-size must be at least 1"),
        (LimitsWish(max_num_tokens=8), "--max-num-tokens 8 is less than a block of the KV cache"),
        (
            LimitsWish(max_batch_size=2, max_seq_len=512, max_num_tokens=2048),
            "--max-num-tokens 2048 is more than a step can have",
        ),
    ],
)
def test_an_impossible_limit_is_refused(wish: LimitsWish, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        design(subject(), msgspec.structs.replace(CALIBRATED, limits=wish), SHOP)


def test_a_setting_replaces_what_nimctl_would_say() -> None:
    settings = {"--gemm_plugin": "fp8", "--log_level": "verbose", "--fast_build": "true"}
    line = build_line(subject(), msgspec.structs.replace(CALIBRATED, settings=settings))
    assert "--gemm_plugin fp8" in line
    assert "disable" not in line
    assert line.endswith("--log_level verbose --fast_build")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"--gemm_plugin": "int4"}, "it takes one of auto, float16"),
        ({"--gem_plugin": "auto"}, "did you mean --gemm_plugin?"),
        ({"--max_batch_size": "4"}, "use --max-batch-size"),
        ({"--opt_num_tokens": "64"}, "exclude each other"),
        ({"--opt_num_tokens": "many"}, "it takes a whole number"),
        ({"--streamingllm": "enable"}, "not supported"),
        ({"--pp_reduce_scatter": "enable"}, "MixtralForCausalLM"),
        ({"--user_buffer": "enable"}, "--user_buffer needs --reduce_fusion"),
        ({"--reduce_fusion": "enable"}, "needs tensor parallelism"),
        ({"--fast_build": "sometimes"}, "true or false"),
        ({"--gather_context_logits": "true", "--max_draft_len": "3"}, "does not go with"),
        ({"--output_dir": "/x"}, "nimctl lays out the directories"),
        ({"--use_inflight_batching": "true"}, "have no flag"),
        ({"--tokens_per_block": "-5"}, "no number below zero"),
        ({"--calib_size": "-1"}, "no number below zero"),
        ({"--cp_size": "2"}, "tp times pp ranks"),
        ({"--autoq_format": "fp8"}, "use --precision"),
        ({"--strip_plan": "true"}, "cannot be served"),
        ({"--lora_dir": "/adapters"}, "builders see the checkpoint only"),
    ],
)
def test_a_setting_that_the_builder_would_refuse_is_refused_before(
    settings: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        design(subject(), msgspec.structs.replace(CALIBRATED, settings=settings), SHOP)
    said = f"{caught.value.message} {caught.value.cause} {caught.value.hint}"
    assert words in said


@pytest.mark.parametrize(
    ("flag", "instead"),
    [
        ("--dtype", "--precision"),
        ("--use_weight_only", "--precision"),
        ("--use_fp8", "--precision"),
        ("--fp8_kv_cache", "--kv-cache-dtype"),
        ("--int8_kv_cache", "--kv-cache-dtype"),
    ],
)
def test_what_the_key_says_is_not_contradicted_by_a_flag(flag: str, instead: str) -> None:
    options = BuildOptions(settings={flag: "float16" if flag == "--dtype" else "true"})
    with pytest.raises(UsageError) as caught:
        design(subject("bf16"), options, SHOP)
    assert caught.value.cause == f"use {instead}"


def test_a_setting_is_known_by_its_other_names() -> None:
    assert parse_settings(["max_multimodal_len=5"]) == {"--max_prompt_embedding_table_size": "5"}
    options = BuildOptions(settings=parse_settings(["max_decoder_seq_len=64"]))
    with pytest.raises(UsageError) as caught:
        design(subject("bf16"), options, SHOP)
    assert caught.value.cause == "use --max-seq-len"


@pytest.mark.parametrize("name", ["MistralForCausalLM", "MixtralForCausalLM", "Qwen2ForCausalLM"])
def test_only_llama_fuses_the_reduction(name: str) -> None:
    other = msgspec.structs.replace(LLAMA, class_name=name)
    one = msgspec.structs.replace(subject("bf16", tp=2), architecture=other)
    assert "--reduce_fusion" not in build_line(one, BuildOptions())
    with pytest.raises(UsageError) as caught:
        design(one, BuildOptions(settings={"--reduce_fusion": "enable"}), SHOP)
    assert f"this is {name}" in (caught.value.cause or "")


@pytest.mark.parametrize(
    ("precision", "settings", "words"),
    [
        ("bf16", {"--gemm_swiglu_plugin": "fp8"}, "is for layers in fp8, this is bf16"),
        ("nvfp4", {"--low_latency_gemm_swiglu_plugin": "fp8"}, "this is nvfp4"),
        ("bf16", {"--low_latency_gemm_plugin": "fp8"}, "is for layers in fp8"),
        ("int4_awq", {"--use_fp8_context_fmha": "enable"}, "fp8, w4a8_awq, nvfp4, this is int4"),
        ("fp8", {"--gemm_plugin": "nvfp4"}, "multiplies weights in nvfp4, this is fp8"),
        ("fp8", {"--norm_quant_fusion": "enable"}, "in nvfp4, without --reduce_fusion"),
        (
            "fp8",
            {"--gemm_swiglu_plugin": "fp8", "--use_fused_mlp": "disable"},
            "needs --use_fused_mlp",
        ),
        ("fp8", {"--tokens_per_block": "48"}, "is a power of two, not 48"),
        ("fp8", {"--tokens_per_block": "0"}, "is a power of two, not 0"),
        ("fp8", {"--workers": "0"}, "it takes 1 or more"),
        ("fp8", {"--calib_size": "0"}, "it takes 1 or more"),
        ("bf16", {"--n_layer": "3"}, "the checkpoint says it"),
        ("bf16", {"--paged_kv_cache": "foo"}, "--set kv_cache_type=paged"),
    ],
)
def test_what_goes_with_another_precision_only_is_refused(
    precision: str, settings: dict[str, str], words: str
) -> None:
    gpu = "b200" if precision == "nvfp4" else "h100_sxm"
    options = msgspec.structs.replace(CALIBRATED, settings=settings)
    with pytest.raises(UsageError) as caught:
        design(subject(precision, gpu=gpu), options, SHOP)
    assert words in f"{caught.value.message} {caught.value.cause}"


@pytest.mark.parametrize(
    ("precision", "settings"),
    [
        ("fp8", {"--gemm_swiglu_plugin": "fp8", "--low_latency_gemm_plugin": "fp8"}),
        ("fp8", {"--use_fp8_context_fmha": "enable", "--tokens_per_block": "64"}),
        ("nvfp4", {"--norm_quant_fusion": "enable"}),
        ("bf16", {"--gemm_plugin": "bfloat16", "--gemm_swiglu_plugin": "disable"}),
    ],
)
def test_what_goes_with_the_precision_is_taken(precision: str, settings: dict[str, str]) -> None:
    gpu = "b200" if precision == "nvfp4" else "h100_sxm"
    line = build_line(
        subject(precision, gpu=gpu), msgspec.structs.replace(CALIBRATED, settings=settings)
    )
    assert all(f"{flag} {value}" in line for flag, value in settings.items())


@pytest.mark.parametrize(("kv_heads", "tp"), [(3, 2), (3, 4), (6, 4)])
def test_heads_of_keys_have_to_divide_or_repeat(kv_heads: int, tp: int) -> None:
    odd = msgspec.structs.replace(LLAMA, heads=24, kv_heads=kv_heads)
    one = msgspec.structs.replace(subject("bf16", tp=tp), architecture=odd)
    with pytest.raises(UsageError, match=f"cannot be divided over {tp} GPUs"):
        design(one, BuildOptions(), SHOP)


@pytest.mark.parametrize(("kv_heads", "tp"), [(1, 4), (2, 4), (4, 2), (8, 8)])
def test_heads_of_keys_may_divide_or_repeat(kv_heads: int, tp: int) -> None:
    even = msgspec.structs.replace(LLAMA, heads=32, kv_heads=kv_heads)
    one = msgspec.structs.replace(subject("bf16", tp=tp), architecture=even)
    assert design(one, BuildOptions(), SHOP).recipe.tp == tp


def test_beams_take_memory_of_their_own() -> None:
    wish = LimitsWish(max_beam_width=64, max_batch_size=2048)
    with pytest.raises(HardwareError) as caught:
        design(subject(), msgspec.structs.replace(CALIBRATED, limits=wish), SHOP)
    assert "2,048 requests of 64 beams" in (caught.value.cause or "")
    one = msgspec.structs.replace(CALIBRATED, limits=LimitsWish(max_batch_size=2048))
    assert design(subject(), one, SHOP).recipe.limits["max_beam_width"] == 1


def test_a_b200_has_no_engines_in_int8() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        design(subject("int8_sq", gpu="b200"), CALIBRATED, SHOP)
    assert "engines in int8_sq do not run on NVIDIA B200" in (caught.value.cause or "")
    options = msgspec.structs.replace(CALIBRATED, kv_cache="int8")
    with pytest.raises(UsageError, match="int8 KV cache"):
        design(subject("bf16", gpu="b200"), options, SHOP)


def test_kernels_that_a_b200_lacks_are_refused() -> None:
    settings = {"--gemm_swiglu_plugin": "fp8"}
    with pytest.raises(UsageError) as caught:
        design(subject(gpu="b200"), msgspec.structs.replace(CALIBRATED, settings=settings), SHOP)
    assert "not implemented for NVIDIA B200" in (caught.value.cause or "")


def test_a_fast_build_of_int4_is_refused() -> None:
    options = msgspec.structs.replace(CALIBRATED, settings={"--fast_build": "true"})
    with pytest.raises(UsageError) as caught:
        design(subject("int4_awq"), options, SHOP)
    assert "int4_awq" in (caught.value.cause or "")


def test_an_fp8_kv_cache_needs_a_gpu_that_has_fp8() -> None:
    options = BuildOptions(kv_cache="fp8", calibration=CALIBRATION)
    with pytest.raises(UsageError, match=r"8\.9"):
        design(subject("bf16", gpu="a100_sxm_80gb"), options, SHOP)


@pytest.mark.parametrize(
    ("options", "one", "strategy", "words"),
    [
        (BuildOptions(), subject("bf16"), "tensorrt", "1.2.1 builds engines, the last stable"),
        (BuildOptions(), subject("bf16"), "tensorrt", "removed engines in 1.3.0rc21"),
        (BuildOptions(), subject("bf16", version="1.3.0rc20"), "tensorrt", "1.3.0rc20 builds"),
        (BuildOptions(), subject("bf16", version="1.3.0rc21"), "pytorch", "PyTorch backend"),
        (BuildOptions(), subject("bf16", version="1.4.0rc1"), "pytorch", "PyTorch backend"),
        (BuildOptions(), subject("bf16", class_name="Gemma3ForCausalLM"), "pytorch", "PyTorch"),
        (BuildOptions(strategy="pytorch"), subject("bf16"), "pytorch", "--strategy asks"),
        (BuildOptions(strategy="tensorrt"), subject("bf16"), "tensorrt", "--strategy asks"),
        (BuildOptions(strategy="prebuilt"), subject("bf16"), "tensorrt", "builds engines"),
    ],
)
def test_the_strategy_is_chosen_with_its_reason(
    options: BuildOptions, one: Subject, strategy: str, words: str
) -> None:
    choice = design(one, options, SHOP).choice
    assert choice.strategy == strategy
    assert words in choice.reason


def test_why_not_an_engine_is_said_too() -> None:
    removed = design(subject("bf16", version="1.4.0rc1"), BuildOptions(), SHOP).choice
    assert removed.against == (
        (
            f"TensorRT-LLM removed engines in 1.3.0rc21, this is 1.4.0rc1; "
            f"{BUILDER_IMAGE} still builds them"
        ),
    )
    unknown = design(subject("bf16", class_name=None), BuildOptions(), SHOP).choice
    assert "does not say what class" in unknown.against[0]


@pytest.mark.parametrize(
    ("one", "strategy", "words"),
    [
        (subject("bf16", version="1.4.0rc1"), "tensorrt", "removed engines"),
        (subject("bf16", class_name="GptOssForCausalLM"), "tensorrt", "no conversion"),
        (subject("fp8", form="trtllm_checkpoint"), "pytorch", "Hugging Face checkpoints only"),
        (subject("bf16", class_name="Phi3ForCausalLM", pp=2), "tensorrt", "pipeline"),
        (subject("fp8", form="quantised", class_name="Qwen2ForCausalLM"), "tensorrt", "read"),
        (subject("int4_awq", class_name="Qwen3ForCausalLM"), "tensorrt", "cannot be quantised"),
        (subject("bf16"), "llama_cpp", "for the backend llama_cpp"),
    ],
)
def test_a_strategy_that_cannot_do_it_is_refused_with_the_reason(
    one: Subject, strategy: str, words: str
) -> None:
    options = msgspec.convert({"strategy": strategy}, BuildOptions)
    with pytest.raises(UsageError) as caught:
        design(one, options, SHOP)
    assert words in (caught.value.cause or "")


def test_a_gpu_without_the_precision_has_no_strategy() -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        design(subject("fp8", gpu="a100_sxm_80gb"), CALIBRATED, SHOP)
    assert "do not run on NVIDIA A100" in (caught.value.cause or "")


@pytest.mark.parametrize(
    ("precision", "form", "commands"),
    [("bf16", "checkpoint", 0), ("fp8", "quantised", 0), ("fp8", "checkpoint", 1)],
)
def test_pytorch_quantises_only_what_needs_it(precision: str, form: Form, commands: int) -> None:
    options = msgspec.structs.replace(CALIBRATED, strategy="pytorch")
    made = design(subject(precision, form=form), options, SHOP)
    assert len(made.job.commands) == commands
    assert "llm-options.yaml" in made.job.outputs
    assert ("checkpoint/config.json" in made.job.outputs) == bool(commands)


def test_pytorch_has_an_options_file_for_this_gpu() -> None:
    options = msgspec.structs.replace(CALIBRATED, strategy="pytorch")
    made = design(subject("fp8", tp=2, form="quantised"), options, SHOP)
    assert json.loads(made.job.extra["llm-options.yaml"]) == {
        "max_batch_size": 512,
        "max_num_tokens": 8192,
        "max_seq_len": 8192,
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        "cuda_graph_config": {"enable_padding": True, "max_batch_size": 512},
        "kv_cache_config": {"dtype": "fp8", "free_gpu_memory_fraction": 0.9},
    }


def test_a_display_leaves_less_for_the_cache() -> None:
    one = subject("bf16", gpu="rtx_4090")
    shown = msgspec.structs.replace(one.gpus[0], drives_display=True)
    options = BuildOptions(strategy="pytorch")
    made = design(msgspec.structs.replace(one, gpus=(shown,)), options, SHOP)
    cache = json.loads(made.job.extra["llm-options.yaml"])["kv_cache_config"]
    assert cache == {"dtype": "auto", "free_gpu_memory_fraction": 0.85}


def test_pytorch_has_no_int8_kv_cache() -> None:
    with pytest.raises(UsageError, match="no int8 KV cache"):
        design(subject("bf16"), BuildOptions(strategy="pytorch", kv_cache="int8"), SHOP)


def test_options_files_are_joined_and_caches_keyed_by_all_they_depend_on() -> None:
    assert json.loads(merged('{"a": 1, "b": 1}', None, '{"b": 2}')) == {"a": 1, "b": 2}
    assert merged(None, None) == ""
    usual = KernelCache(
        reference="hf://a/b",
        image="sha256:1",
        model="m",
        gpu="h100_sxm",
        compute_capability="9.0",
        configuration="{}",
        indices=(0,),
    )
    fields = ("image", "model", "gpu", "compute_capability", "configuration")
    others = [msgspec.structs.replace(usual, **{name: "other"}) for name in fields]
    assert len({one.known_key for one in (usual, *others)}) == 6
    assert msgspec.structs.replace(usual, indices=(1,)).known_key == usual.known_key
    assert msgspec.structs.replace(usual, image=None).known_key is None


def test_pytorch_has_no_flags_to_set() -> None:
    options = BuildOptions(strategy="pytorch", settings={"--gemm_plugin": "auto"})
    with pytest.raises(UsageError, match="--set is for the commands that build engines"):
        design(subject("bf16"), options, SHOP)


def test_workers_and_the_log_level_are_no_part_of_an_engine() -> None:
    loud = BuildOptions(settings={"--log_level": "debug", "--workers": "8"})
    plain = design(subject("bf16"), BuildOptions(), SHOP).recipe
    assert design(subject("bf16"), loud, SHOP).recipe == plain
    other = BuildOptions(settings={"--gemm_plugin": "bfloat16"})
    (difference,) = differences(design(subject("bf16"), other, SHOP).recipe, plain)
    assert difference.field == "trtllm-build --gemm_plugin"


def test_on_this_machine_the_same_commands_run_in_the_work_directory() -> None:
    shop = msgspec.structs.replace(SHOP, image=None, examples="/opt/examples")
    made = design(subject("fp8", tp=2), CALIBRATED, shop)
    quantise, build = lines(made)
    assert quantise.startswith("python3 /opt/examples/quantization/quantize.py --model_dir ")
    assert "--calib_dataset calibration" in quantise
    assert "--checkpoint_dir ./trtllm_checkpoint --output_dir .." in build
    assert made.job.environment == {"CUDA_VISIBLE_DEVICES": "GPU-00000000,GPU-00000001"}
    assert made.recipe == design(subject("fp8", tp=2), CALIBRATED, SHOP).recipe
