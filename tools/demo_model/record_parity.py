"""Record what transformers answers in float32, as the reference for other engines.

Run: OMP_NUM_THREADS=1 python tools/demo_model/record_parity.py
"""

import json
from pathlib import Path
from typing import Any

import checkpoint
import torch
import transformers
from corpus import load_countries
from parity_prompts import chats, text_prompts
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

RECORD = Path(__file__).resolve().parents[2] / "tests" / "data" / "demo_parity.json"
MAX_NEW_TOKENS = 32
# Where the two best logits are closer than this, rounding decides and nothing is shown.
LEAST_GAP = 1e-3


def main() -> None:
    """Answer all prompts and chats, and write the record with one answer a line."""
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.FOLDER)
    model = AutoModelForCausalLM.from_pretrained(checkpoint.FOLDER, dtype=torch.float32).eval()
    countries = load_countries()

    completions = [
        {"prompt": prompt, **answer}
        for prompt in text_prompts(countries)
        if (answer := greedy_answer(prompt, tokenizer, model)) is not None
    ]
    answered_chats = []
    for messages in chats(countries):
        rendered = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        answer = greedy_answer(rendered, tokenizer, model)
        if answer is not None:
            answered_chats.append({"messages": messages, "rendered": rendered, **answer})

    RECORD.write_text(as_json(completions, answered_chats), encoding="utf-8")
    asked = len(text_prompts(countries)) + len(chats(countries))
    dropped = asked - len(completions) - len(answered_chats)
    print(f"{len(completions)} completions, {len(answered_chats)} chats, {dropped} dropped")


def greedy_answer(
    prompt: str, tokenizer: Tokenizer, model: PreTrainedModel
) -> dict[str, Any] | None:
    """The answer's ids (with the end token where it came) and text; None where it is no test.

    A near tie or an answer cut inside a character depends on the engine.
    """
    ids = tokenizer(prompt, return_tensors="pt")
    prompt_length = ids["input_ids"].shape[1]
    output = model.generate(
        **ids,
        do_sample=False,
        max_new_tokens=MAX_NEW_TOKENS,
        output_logits=True,
        return_dict_in_generate=True,
    )
    best_two = torch.cat(output.logits).topk(2).values
    token_ids = output.sequences[0, prompt_length:]
    text = tokenizer.decode(token_ids, skip_special_tokens=True)
    if (best_two[:, 0] - best_two[:, 1]).min() < LEAST_GAP or "\ufffd" in text:
        print(f"  dropped: {prompt!r}")
        return None
    return {
        "prompt_token_ids": ids["input_ids"][0].tolist(),
        "token_ids": token_ids.tolist(),
        "text": text,
    }


def as_json(completions: list[dict[str, Any]], answered_chats: list[dict[str, Any]]) -> str:
    """The record as JSON in which each answer is one line, so that a change reads well."""
    head = {
        "model_sha256": checkpoint.weights_sha256(checkpoint.FOLDER),
        "recorded_with": {
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        },
    }
    fields = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
    for key, records in (("completions", completions), ("chats", answered_chats)):
        lines = ",\n".join(json.dumps(record) for record in records)
        fields.append(f'"{key}": [\n{lines}\n]')
    return "{\n" + ",\n".join(fields) + "\n}\n"


if __name__ == "__main__":
    main()
