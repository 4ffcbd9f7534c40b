"""Make tiny checkpoints, and record what transformers and the tokenizers' own libraries answer.

The checkpoints and the record are fixtures of tests/adapters/test_gguf_*.py.
Needs torch, transformers, tokenizers and sentencepiece (recorded with 2.13.0, 5.23.0, 0.23.3 and
0.2.3). Run: OMP_NUM_THREADS=1 python tools/gguf_reference/record.py
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from cases import CASES, Case
from texts import probes
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "gguf"
SEED = 20261124
PROMPTS = 10
NEW_TOKENS = 12
LONGEST_PROMPT = 40
# Special tokens come last in the BPE vocabularies and first in the SentencePiece one.
PLAIN_IDS = (8, 370)
# llama.cpp rounds activations to f16 on the way. Where the best two logits are closer than this
# part of their spread, rounding decides and nothing is shown.
LEAST_GAP = 0.05


def main() -> None:
    """Write one folder for each case, and `record.json` with all answers."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    shutil.rmtree(DATA, ignore_errors=True)
    record = {case.name: record_case(case, DATA / case.name) for case in CASES}
    (DATA / "record.json").write_text(as_json(record), encoding="utf-8")
    size = sum(file.stat().st_size for file in DATA.rglob("*") if file.is_file())
    print(f"{len(record)} checkpoints, {size} bytes")


def record_case(case: Case, folder: Path) -> dict[str, Any]:
    """Write a checkpoint, read it back as float32, and answer."""
    torch.manual_seed(SEED)
    folder.mkdir(parents=True)
    case.build().save_pretrained(folder, max_shard_size=case.shard_size)
    encode, tokenizer_config = case.tokenizer(folder)
    write_chat_template(case, folder, tokenizer_config)
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    if case.legacy:
        write_legacy_rope(folder / "config.json")

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(SEED)
    answers: list[dict[str, Any]] = []
    dropped = 0
    while len(answers) < PROMPTS:
        length = int(torch.randint(2, LONGEST_PROMPT, (1,), generator=generator))
        prompt = torch.randint(*PLAIN_IDS, (length,), generator=generator)
        answer = greedy_answer(model, prompt)
        if answer is None:
            dropped += 1
        else:
            answers.append({"prompt": prompt.tolist(), "answer": answer})
    distinct = {token for one in answers for token in one["answer"]}
    print(f"{case.name}: {dropped} prompts dropped, {len(distinct)} different tokens")
    tokens = [[text, encode(text)] for text in probes(*case.markers)]
    return {"answers": answers, "tokens": tokens}


def greedy_answer(model: PreTrainedModel, prompt: torch.Tensor) -> list[int] | None:
    """The next tokens; None where a near tie or a special token would decide."""
    ids: list[int] = prompt.tolist()
    for _ in range(NEW_TOKENS):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        best, second = logits.topk(2).values
        chosen = int(logits.argmax())
        if best - second < LEAST_GAP * logits.std() or not PLAIN_IDS[0] <= chosen < PLAIN_IDS[1]:
            return None
        ids.append(chosen)
    return ids[len(prompt) :]


def write_legacy_rope(file: Path) -> None:
    """Rewrite a configuration's rotary parameters as transformers 4 wrote them."""
    config = json.loads(file.read_text(encoding="utf-8"))
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    write_json(file, config)


def write_chat_template(case: Case, folder: Path, tokenizer_config: dict[str, Any]) -> None:
    """Write a file, or a key of tokenizer_config.json where it is older or has several."""
    if isinstance(case.chat_template, str) and not case.legacy:
        (folder / "chat_template.jinja").write_text(case.chat_template, encoding="utf-8")
    else:
        tokenizer_config["chat_template"] = case.chat_template


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write JSON as transformers does."""
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def as_json(record: dict[str, dict[str, Any]]) -> str:
    """One answer or text a line."""
    cases = []
    for name, parts in record.items():
        lists = [
            f'  "{key}": [\n' + ",\n".join(f"   {json.dumps(one)}" for one in ones) + "\n  ]"
            for key, ones in parts.items()
        ]
        cases.append(f' "{name}": {{\n' + ",\n".join(lists) + "\n }")
    return "{\n" + ",\n".join(cases) + "\n}\n"


if __name__ == "__main__":
    main()
