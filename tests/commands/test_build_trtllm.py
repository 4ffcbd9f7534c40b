"""`nimctl build-engine` for TensorRT-LLM: what is planned, and every refusal before the build."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import recorded
from conftest import Run, words
from trtllm_model import DEMO, NAME, add_model, add_texts

H100 = ("--gpu", "h100_sxm", "--dry-run")
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere.sock"}


@pytest.fixture
def model(environ: dict[str, str], tmp_path: Path) -> str:
    return add_model(environ, tmp_path)


@pytest.fixture
def pulled(run: Run, model: str) -> str:
    """The same in the store, where every digest is known, and so the key."""
    assert run("pull", model).code == 0
    return model


def commands(script: str) -> list[list[str]]:
    """The command lines of a printed script."""
    return [shlex.split(line) for line in script.splitlines() if not line.startswith("#")]


def test_a_dry_run_prints_what_runs_where_and_why(run: Run, model: str) -> None:
    result = run("build-engine", model, "--precision", "bf16", *H100)
    assert result.code == 0, result
    notes = [line for line in result.out.splitlines() if line.startswith("# ")]
    assert "# strategy tensorrt: TensorRT-LLM 1.2.1 builds engines, the last stable" in notes[0]
    assert "removed engines in 1.3.0rc21" in notes[0]
    assert any(
        line.startswith("# build, inside the container: trtllm-build --checkpoint_dir /work")
        for line in notes
    )
    pulled, *_ = [line for line in commands(result.out) if line[:2] == ["docker", "pull"]]
    assert pulled[-1] == "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"
    convert, build = [line for line in commands(result.out) if line[:2] == ["docker", "run"]]
    assert "--rm" in convert
    assert convert[convert.index(pulled[-1]) + 1] == "python3"
    assert build[build.index(pulled[-1]) + 1] == "trtllm-build"
    # The line in the comment is what runs inside, word by word.
    inside = next(line for line in notes if line.startswith("# build, inside"))
    assert shlex.split(inside.partition(": ")[2]) == build[build.index(pulled[-1]) + 1 :]


def test_the_plan_as_a_document_has_key_recipe_and_commands(run: Run, pulled: str) -> None:
    plan = run("build-engine", pulled, "--precision", "bf16", *H100, "--json").json
    (build,) = [step for step in plan["steps"] if step["type"] == "Build"]
    assert build["recipe"]["gpu"] == "h100_sxm"
    assert build["recipe"]["compute_capability"] == "9.0"
    assert build["recipe"]["tensorrt_version"] == "10.14.1"
    assert build["recipe"]["strategy"] == "tensorrt"
    assert [command["phase"] for command in build["job"]["commands"]] == ["convert", "build"]
    assert build["job"]["outputs"] == ["config.json", "rank0.engine"]
    assert len(build["key"]) == 64


def test_the_key_follows_from_what_the_engine_depends_on(run: Run, pulled: str) -> None:
    def key(*more: str) -> str:
        plan = run("build-engine", pulled, "--precision", "bf16", "--dry-run", "--json", *more).json
        (found,) = [step["key"] for step in plan["steps"] if step["type"] == "Build"]
        return str(found)

    usual = key("--gpu", "h100_sxm")
    assert key("--gpu", "h100_sxm") == usual
    assert key("--gpu", "h100_sxm", "--set", "workers=4") == usual
    others = [
        key("--gpu", "l40s"),
        key("--gpu", "h100_sxm", "--max-batch-size", "8"),
        key("--gpu", "h100_sxm", "--set", "gemm_plugin=bfloat16"),
        key("--gpu", "h100_sxm", "--image", "nvcr.io/nvidia/tensorrt-llm/release:1.1.0"),
    ]
    assert len({usual, *others}) == 5


def test_a_mirror_of_the_image_gives_the_same_key(run: Run, pulled: str) -> None:
    plans = [
        run("build-engine", pulled, "--precision", "bf16", *H100, "--json", *more).json
        for more in ((), ("--image", "registry.local:5000/nvidia/tensorrt-llm/release:1.2.1"))
    ]
    keys = {step["key"] for plan in plans for step in plan["steps"] if step["type"] == "Build"}
    assert len(keys) == 1
    assert None not in keys


def test_calibration_data_choose_the_profile_that_needs_them(
    run: Run, model: str, tmp_path: Path
) -> None:
    plain = run("build-engine", model, *H100, "--json").json
    texts = add_texts(tmp_path)
    measured = run("build-engine", model, *H100, "--json", "--calib", texts).json

    def recipe(plan: dict[str, list[dict[str, dict[str, str]]]]) -> dict[str, str]:
        return next(step["recipe"] for step in plan["steps"] if "recipe" in step)

    assert recipe(plain)["precision"] == "bf16"
    assert recipe(measured)["precision"] == "fp8"
    assert len(recipe(measured)["calibration"]) == 64


def test_parallelism_can_be_said(run: Run, model: str) -> None:
    options = ("--precision", "bf16", "--tp", "2", "--dry-run", "--json")
    plan = run("build-engine", model, "--gpu", "h100_sxm:2", *options).json
    (build,) = [step for step in plan["steps"] if step["type"] == "Build"]
    assert build["recipe"]["tp"] == 2
    assert len(build["job"]["devices"]["uuids"]) == 2
    assert "--tp_size 2" in " ".join(build["job"]["commands"][0]["argv"])


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("--precision", "fp8"), 2, ["needs calibration data", "--calib FILE"]),
        (("--precision", "fp8", "--calib", "/no/such.jsonl"), 3, ["/no/such.jsonl"]),
        (("--set", "gemm_plugin=int4"), 2, ["--gemm_plugin=int4 is refused", "it takes one of"]),
        (("--set", "gem_plugin=auto"), 2, ["have no flag --gem_plugin", "--gemm_plugin?"]),
        (("--set", "max_batch_size=4"), 2, ["use --max-batch-size"]),
        (("--set", "a=1", "--set", "a=2"), 2, ["--a is set twice"]),
        (("--set", "opt_num_tokens=8"), 2, ["exclude each other"]),
        (("--max-seq-len", "4096"), 2, ["longer than the model's context", "512 tokens"]),
        (("--tp", "3"), 2, ["cannot be divided over 3 GPUs", "4 attention heads"]),
        (("--pp", "3"), 2, ["cannot be divided over 3 GPUs", "2 layers"]),
        (("--tp", "2"), 7, ["does not run on this machine"]),
        (("--image", "own/builder:latest"), 2, ["does not say which TensorRT-LLM it holds"]),
        (("--strategy", "prebuilt"), 3, ["no engine of tiny-llama in the store"]),
        (
            ("--strategy", "tensorrt", "--image", "nvcr.io/nvidia/tensorrt-llm/release:1.4.0rc1"),
            2,
            ["removed engines in 1.3.0rc21", "this is 1.4.0rc1"],
        ),
        (("--keep-going",), 2, ["--profiles"]),
    ],
)
def test_what_cannot_be_is_refused_before_the_build(
    run: Run, model: str, argv: tuple[str, ...], code: int, said: list[str]
) -> None:
    precision = () if "--precision" in argv else ("--precision", "bf16")
    result = run("build-engine", model, *precision, *H100, *argv)
    assert result.code == code, result
    words(result, *said)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("no-json.jsonl", b"not json\n", "it is no JSONL: Expecting value"),
        (
            "no-field.jsonl",
            b'{"text": "a"}\n{"txt": "a"}\n',
            "entry 2 has no text in a field `text`",
        ),
        ("number.jsonl", b'{"text": 5}\n', "entry 1 has no text"),
        ("numbers.json", b"[1, 2]", "entry 1 has no text"),
        ("columns.csv", b"a,b\n1,2\n", "entry 1 has no text"),
        ("latin.txt", b"caf\xe9\n", "it is not in UTF-8"),
        ("noise.parquet", b"noise", "it is no Parquet file"),
    ],
)
def test_texts_that_the_builder_cannot_read_are_refused_before_it_runs(
    run: Run, model: str, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    texts = tmp_path / name
    texts.write_bytes(content)
    result = run("build-engine", model, "--precision", "fp8", *H100, "--calib", texts)
    assert result.code == 2, result
    words(result, f"{name} is no calibration file", said)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", '[{"text": "a"}]'),
        ("lines.json", '{"text": "a"}\n{"text": "b"}\n'),
        ("table.csv", "text,more\na,b\n"),
        ("lines.txt", "a\nb\n"),
        ("blank.jsonl", '\n{"text": "a"}\n'),
    ],
)
def test_every_kind_of_texts_is_taken(
    run: Run, model: str, tmp_path: Path, name: str, content: str
) -> None:
    texts = tmp_path / name
    texts.write_text(content)
    assert run("build-engine", model, "--precision", "fp8", *H100, "--calib", texts).code == 0


def test_an_int8_kv_cache_alone_needs_texts_too(run: Run, model: str) -> None:
    result = run("build-engine", model, "--precision", "bf16", *H100, "--kv-cache-dtype", "int8")
    assert result.code == 2, result
    words(result, "an int8 KV cache of tiny-llama needs calibration data", "--kv-cache-dtype auto")


def test_several_profiles_are_only_shown_where_that_is_asked(run: Run, model: str) -> None:
    names = "tensorrt_llm-bf16-tp1-pp1,tensorrt_llm-bf16-tp2-pp1"
    asked = ("build-engine", model, "--profiles", names, "--gpu", "h100_sxm:2", "--dry-run")
    result = run(*asked)
    assert result.code == 0, result
    builds = [line for line in result.out.splitlines() if line.startswith("# build, inside")]
    assert ["--workers 1" in builds[0], "--workers 2" in builds[1]] == [True, True]
    plans = run(*asked, "--json").json["plans"]
    assert [plan["steps"][-1]["recipe"]["tp"] for plan in plans] == [1, 2]
    unknown = run("build-engine", model, "--profiles", "none-such", *H100)
    assert unknown.code == 3, unknown
    words(unknown, "`none-such`, which --profiles names")


def test_a_precision_that_the_gpu_lacks_is_the_reason(run: Run, tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "model")
    asked = ("build-engine", f"file://{tmp_path / 'model'}", "--precision", "fp8", "--dry-run")
    result = run(*asked, "--gpu", "a100_sxm_80gb")
    assert result.code == 7, result
    words(result, "fp8 needs compute capability 8.9, A100-SXM4-80GB has 8.0")


def test_what_modelopt_wrote_apart_is_what_a_checkpoint_comes_in(run: Run, tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "model")
    mark = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}
    (tmp_path / "model" / "hf_quant_config.json").write_text(json.dumps(mark))
    asked = ("build-engine", f"file://{tmp_path / 'model'}", "--dry-run")
    built = run(*asked, "--gpu", "b200")
    assert built.code == 0, built
    assert "--use_nvfp4" in built.out
    other = run(*asked, "--precision", "fp8", "--gpu", "b200")
    assert other.code == 2, other
    words(other, "no profile has precision fp8")
    lacking = run(*asked, "--gpu", "h100_sxm")
    assert lacking.code == 7, lacking
    words(lacking, "can be built for this machine", "list-profiles")


def test_gpus_that_containers_do_not_get_are_not_said_to_be_missing(
    run: Run, model: str, environ: dict[str, str], tmp_path: Path
) -> None:
    path = f"{recorded.install('dgx-h100', tmp_path / 'bin')}:{environ['PATH']}"
    asked = ("serve", model, "--precision", "bf16", "--port", "auto", "--dry-run")
    result = run(*asked, env={**NO_ENGINE, "PATH": path})
    assert result.code == 7, result
    words(result, "H100 80GB HBM3 is not used: ")
    assert "has no NVIDIA GPU" not in result.err


def test_root_lends_the_printed_build_its_directory(run: Run, model: str) -> None:
    result = run("build-engine", model, "--precision", "bf16", *H100)
    lines = result.out.splitlines()
    (lent,) = [number for number, line in enumerate(lines) if "chown -R" in line]
    assert lines[lent].startswith('[ "$(id -u)" != 0 ] || chown -R ')
    assert lent < next(n for n, line in enumerate(lines) if line.startswith("docker run"))


def test_a_release_without_engines_gets_a_checkpoint_for_pytorch(run: Run, model: str) -> None:
    image = "nvcr.io/nvidia/tensorrt-llm/release:1.4.0rc1"
    result = run("build-engine", model, "--precision", "bf16", *H100, "--image", image)
    assert result.code == 0, result
    assert "# strategy pytorch: the PyTorch backend serves the checkpoint" in result.out
    assert "TensorRT-LLM removed engines in 1.3.0rc21, this is 1.4.0rc1" in result.out
    (server,) = [line for line in commands(result.out) if line[:2] == ["docker", "run"]]
    assert server[server.index("--entrypoint") + 1] == "trtllm-serve"
    assert '"free_gpu_memory_fraction": 0.9' in result.out


def test_a_checkpoint_outside_the_catalogue_is_built_of_as_well(
    run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    add_model(environ, tmp_path)
    result = run("build-engine", f"file://{tmp_path}/checkpoint", *H100)
    assert result.code == 0, result
    assert "# strategy tensorrt" in result.out
    assert "models/core/llama/convert_checkpoint.py" in result.out


@pytest.mark.parametrize(
    ("class_name", "reason"),
    [
        ("Gemma3ForCausalLM", "(examples/models/core/gemma) are not recorded"),
        ("NemotronForCausalLM", "(examples/models/core/gpt) are not recorded"),
        ("DeciLMForCausalLM", "(examples/models/core/nemotron_nas) are not recorded"),
        ("CohereForCausalLM", "(examples/models/core/commandr) are not recorded"),
        ("GptOssForCausalLM", "no conversion to an engine is known for GptOssForCausalLM"),
    ],
)
def test_a_model_without_a_way_to_an_engine_says_so(
    run: Run, environ: dict[str, str], tmp_path: Path, class_name: str, reason: str
) -> None:
    model = add_model(environ, tmp_path, class_name=class_name)
    result = run("build-engine", model, "--precision", "bf16", *H100)
    note = next(line for line in result.out.splitlines() if line.startswith("# strategy"))
    assert note.startswith("# strategy pytorch: the PyTorch backend serves the checkpoint")
    assert reason in note
    assert class_name in note


def test_a_machine_without_gpus_is_told_what_there_is(run: Run, model: str) -> None:
    result = run("build-engine", model, env=NO_ENGINE)
    assert result.code == 7
    words(result, NAME, f"nimctl list-profiles {NAME}")


def test_options_of_trtllm_are_refused_for_other_engines(run: Run) -> None:
    result = run("build-engine", "capitals-demo", "--max-batch-size", "4", env=NO_ENGINE)
    assert result.code == 2
    words(result, "takes no options of an engine's build")


def test_the_printed_script_is_one_that_a_shell_reads(run: Run, model: str, tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415 - only here

    asked = ("--precision", "bf16", *H100, "--strategy", "pytorch", "--no-warm-up")
    result = run("build-engine", model, *asked)
    assert "docker" not in result.out
    script = tmp_path / "build.sh"
    script.write_text(result.out)
    subprocess.run(["bash", script], check=True)
    (options,) = list(Path(tmp_path).rglob("llm-options.yaml"))
    assert json.loads(options.read_text())["max_batch_size"] == 512


def test_a_dry_run_of_several_goes_on_after_one_that_cannot_be(run: Run, model: str) -> None:
    profiles = "tensorrt_llm-bf16-tp1-pp1,tensorrt_llm-fp8-tp1-pp1"
    argv = ("build-engine", model, "--profiles", profiles, *H100)
    stopped = run(*argv)
    assert stopped.code == 2, stopped
    assert stopped.out == ""
    going = run(*argv, "--keep-going")
    assert going.code == 11, going
    words(going, "tensorrt_llm-fp8-tp1-pp1: quantising", "1 of 2 builds failed")
    assert "trtllm-build" in going.out
    document = run(*argv, "--keep-going", "--json")
    assert len(document.json["plans"]) == 1
    assert [one["profile"] for one in document.json["failed"]] == ["tensorrt_llm-fp8-tp1-pp1"]


@pytest.mark.parametrize(("texts", "warned"), [(1, True), (511, True), (512, False)])
def test_few_texts_are_warned_of(
    run: Run, model: str, tmp_path: Path, *, texts: int, warned: bool
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "Paris is the capital of France."}\n' * texts)
    result = run("build-engine", model, "--precision", "fp8", "--calib", file, *H100)
    assert result.code == 0, result
    assert (f"has {texts} texts; 512 are what" in result.out) is warned


def test_why_a_precision_is_taken_for_texts_is_said(run: Run, model: str, tmp_path: Path) -> None:
    texts = add_texts(tmp_path)
    result = run("build-engine", model, "--calib", texts, *H100)
    assert result.code == 0, result
    assert "# precision fp8: it is measured with the texts that are given; on compute" in result.out
    assert "capability 9.0 the order is fp8, mxfp4, bf16" in result.out
