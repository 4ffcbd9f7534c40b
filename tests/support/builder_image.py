"""TensorRT-LLM's builders and its server as shell scripts in a busybox image, made offline.

They take what the real ones take: each flag and value is checked against the recorded flags, those
of nimctl's own program against its parser, and refused as argparse refuses it. What they do is
written in a file of the checkpoint that they get, `stand-in.txt`, one word:

    fail       an error of TensorRT in the log, status 1
    oom        CUDA out of memory, status 1
    hang       it never ends
    fill       it writes until the disk is full
    killed     it is killed, as by the kernel when memory runs out
    nothing    it ends well and writes nothing
    slow       half a second a command
    serve-die  the server runs out of GPU memory while it starts
    serve-hang the server never gets ready

The server writes into its caches what it would compile, unless that is there.
"""

import io
import json
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

from stand_in_image import ANSWER, add_file, add_link, busybox

from nimctl.engines.trtllm.programs import quantise_checkpoint

RECORD = Path(__file__).parent.parent / "data" / "trtllm_flags.json"
TOOLS = {
    "trtllm-build": "trtllm-build",
    "convert_checkpoint.py": "convert_checkpoint.llama",
    "quantize.py": "quantize.py",
    # It has the names that every release knows.
    "trtllm-serve": "trtllm-serve@1.1",
}
PYTHON = r"""#!/bin/sh
script=$1; shift
case "$script" in
  /nimctl/*) [ -r "$script" ] || { echo "python3: can't open file '$script'"; exit 2; } ;;
esac
exec /stand-in/run "$(basename "$script")" "$@"
"""
BUILD = r"""#!/bin/sh
exec /stand-in/run trtllm-build "$@"
"""
ARGUMENTS = r"""say() { echo "[TRT-LLM] [I] $*"; }
refuse() { echo "usage: $tool [-h]"; echo "$tool: error: $*"; exit 2; }

# The arguments, against the recorded flags.
[ -f "/stand-in/flags/$tool" ] || refuse "no such program"
while [ $# -gt 0 ]; do
  row=$(grep -F -- "$1 " "/stand-in/flags/$tool" | grep -E -- "^$1 ") ||
    refuse "unrecognized arguments: $1"
  kind=$(echo "$row" | cut -d' ' -f2); choices=$(echo "$row" | cut -d' ' -f3)
  name=$(echo "${1#--}" | tr - _)
  if [ "$kind" = switch ]; then shift; continue; fi
  [ $# -gt 1 ] || refuse "argument $1: expected one argument"
  if [ "$kind" = int ]; then
    case "$2" in ''|*[!0-9-]*) refuse "argument $1: invalid int value: '$2'" ;; esac
  fi
  if [ -n "$choices" ]; then
    case ",$choices," in *",$2,"*) ;; *) refuse "argument $1: invalid choice: '$2'" ;; esac
  fi
  eval "$name=\$2"; shift 2
done
"""
RUN = r"""#!/bin/sh
tool=$1; shift

# What the container is allowed to do.
echo "user $(id -u):$(id -g)"
echo "network $(grep -o '^ *[a-z0-9]*:' /proc/net/dev | tr -d ' :' | paste -s -d,)"
touch /checkpoint/x 2>/dev/null && echo "the checkpoint is writable"
touch "$HOME/x" || { echo "no home"; exit 2; }
env | grep -iE 'key|token|secret' | sed 's/^/secret /'

. /stand-in/arguments

mode=$(cat /checkpoint/stand-in.txt 2>/dev/null)
[ "$mode" = slow ] && sleep 0.5
case "$mode" in
  fail) echo "[TRT] [E] Error Code 9: Internal Error"; echo "RuntimeError: engine build failed"
    exit 1 ;;
  oom) echo "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.96 GiB."; exit 1 ;;
  hang) say "hanging"; while :; do sleep 0.1; done ;;
  killed) kill -9 $$ ;;
  nothing) say "nothing to do"; exit 0 ;;
esac
case "$tool" in
  trtllm-build)
    cp "$checkpoint_dir/config.json" /tmp/pretrained.json 2>/dev/null ||
      refuse "no checkpoint in $checkpoint_dir"
    world=$(sed -n 's/.*"world_size": \([0-9]*\).*/\1/p' /tmp/pretrained.json)
    rank=0
    while [ "$rank" -lt "$world" ]; do
      say "Build TensorRT engine Unnamed Network $rank"
      say "Serializing engine to $output_dir/rank$rank.engine..."
      if [ "$mode" = fill ]; then size=64M; else size=64k; fi
      dd if=/dev/zero of="$output_dir/rank$rank.engine" bs="$size" count=1 2>/tmp/dd || {
        echo "OSError: [Errno 28] $(cat /tmp/dd)"; exit 1; }
      echo "rank $rank of $world, $max_batch_size, $gemm_plugin" \
        >>"$output_dir/rank$rank.engine"
      rank=$((rank + 1))
    done
    echo cache >"$output_timing_cache"
    printf '{"version": "1.2.1", "pretrained_config": %s, "build_config": {%s}}' \
      "$(cat /tmp/pretrained.json)" \
      "\"max_batch_size\": $max_batch_size, \"max_seq_len\": $max_seq_len" \
      >"$output_dir/config.json"
    say "Total time of building all engines: 00:00:01" ;;
  quantise_checkpoint.py)
    [ -f "$checkpoint/config.json" ] || refuse "no checkpoint in $checkpoint"
    [ -s "$calibration" ] || refuse "no texts in $calibration"
    echo "Starting quantization..."
    echo "Quantization done. Total time used: 0.10 s."
    mkdir -p "$output"
    cp "$checkpoint/config.json" "$checkpoint/tokenizer.json" "$output"
    cp "$checkpoint/stand-in.txt" "$output" 2>/dev/null
    echo "{\"quantization\": {\"quant_algo\": \"$format\", \"kv\": \"$kv_cache\"}}" \
      >"$output/hf_quant_config.json"
    printf '\002\000\000\000\000\000\000\000{}' >"$output/model.safetensors"
    echo "Quantized model exported to $output" ;;
  *)
    [ -f "$model_dir/config.json" ] || refuse "no model in $model_dir"
    if [ "$tool" = quantize.py ]; then
      say "Loading calibration dataset"
      ls "$calib_dataset"/train.* >/dev/null 2>&1 || {
        echo "NotImplementedError: Unsupported dataset name or local repo directory: x."
        exit 1; }
      say "Starting quantization..."
      say "Quantization done. Total time used: 0.10 s."
    fi
    mkdir -p "$output_dir"
    world=$((tp_size * pp_size))
    echo "{\"architecture\": \"LlamaForCausalLM\", \"mapping\": {\"world_size\": $world}}" \
      >"$output_dir/config.json"
    rank=0
    while [ "$rank" -lt "$world" ]; do
      echo weights >"$output_dir/rank$rank.safetensors"; rank=$((rank + 1))
    done
    echo "Total time of converting checkpoints: 00:00:01" ;;
esac
"""
# What it compiles when there is nothing in its caches, and what it says when there is.
SERVE = r"""#!/bin/sh
trap 'echo stopping; exit 0' TERM
model=$1; shift
tool=trtllm-serve
. /stand-in/arguments
[ -f "$model/config.json" ] || refuse "no checkpoint in $model"
if [ "$backend" = tensorrt ]; then
  [ -s "$model/rank0.engine" ] || refuse "no engine in $model"
  [ -f "$tokenizer/tokenizer.json" ] || refuse "no tokenizer in $tokenizer"
  say "loaded $model/rank0.engine"
  nc -ll -p "$port" -e /bin/answer &
  while kill -0 $!; do sleep 0.05; done
fi
[ -s "$extra_llm_api_options" ] || refuse "no options in $extra_llm_api_options"
touch "$model/x" 2>/dev/null && echo "the checkpoint is writable"
case "$(cat "$model/stand-in.txt" 2>/dev/null)" in
  serve-die) say "Autotuning process starts"
    echo "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.96 GiB."; exit 1 ;;
  serve-hang) say "Autotuning process starts"; while :; do sleep 0.1; done ;;
esac
for file in "$TLLM_AUTOTUNER_CACHE_PATH" "$TRITON_CACHE_DIR/kernel"; do
  mkdir -p "$(dirname "$file")"
  if [ -s "$file" ]; then say "found $file"; else
    echo "compiled on $(hostname)" >"$file" || exit 1
    say "compiled $file"
  fi
done
nc -ll -p "$port" -e /bin/answer &
while kill -0 $!; do sleep 0.05; done
"""


def flag_rows(entries: dict[str, Any]) -> bytes:
    """One line a flag: its name, kind and choices."""
    rows = []
    for name, entry in entries.items():
        if name.startswith("--"):
            kind = "switch" if entry.get("action") == "store_true" else entry["type"]
            choices = ",".join(str(one) for one in entry["choices"] or () if one is not None)
            rows.append(f"{name} {kind} {choices}\n")
    return "".join(rows).encode()


def own_entries() -> dict[str, Any]:
    """What nimctl's own program takes, in the form of the record."""
    return {
        name: {"type": "int" if action.type is int else "str", "choices": action.choices}
        for action in quantise_checkpoint.parser()._actions  # noqa: SLF001 - no other place has them
        for name in action.option_strings
    }


@cache
def _root() -> bytes:
    applets = subprocess.run([busybox(), "--list"], capture_output=True, check=True, text=True)
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "tmp", "stand-in", "stand-in/flags"):
            add_file(tar, name, b"", kind=tarfile.DIRTYPE, mode=0o777)
        tar.add(busybox(), "bin/busybox")
        for applet in applets.stdout.split():
            if applet != "busybox":
                add_link(tar, f"bin/{applet}", "busybox")
        add_file(tar, "bin/python3", PYTHON.encode(), mode=0o755)
        add_file(tar, "bin/trtllm-build", BUILD.encode(), mode=0o755)
        add_file(tar, "bin/trtllm-serve", SERVE.encode(), mode=0o755)
        add_file(tar, "bin/answer", ANSWER.encode(), mode=0o755)
        add_file(tar, "stand-in/arguments", ARGUMENTS.encode())
        add_file(tar, "stand-in/run", RUN.encode(), mode=0o755)
        for tool, name in TOOLS.items():
            add_file(tar, f"stand-in/flags/{tool}", flag_rows(record[name]))
        add_file(tar, "stand-in/flags/quantise_checkpoint.py", flag_rows(own_entries()))
    return buffer.getvalue()


def make_builder_image(reference: str, host: str | None = None) -> None:
    """Import the image under this name, into the engine at `host`."""
    engine = ("--host", host) if host else ()
    argv = ["docker", *engine, "import", "--change", "ENV PATH=/bin", "-", reference]
    subprocess.run(argv, input=_root(), check=True, capture_output=True)
