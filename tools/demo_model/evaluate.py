"""Ask the demo model for every capital and exit with 1 where under 95 % of a form are right.

Run: OMP_NUM_THREADS=1 python tools/demo_model/evaluate.py [FOLDER]
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import checkpoint
import torch
from corpus import TURN_END, Country, load_countries
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

REQUIRED_SHARE = 0.95
MAX_NEW_TOKENS = 48
EXAMPLE_TEMPERATURE = 0.7  # of NVIDIA's getting-started request

Message = dict[str, str]
Form = Callable[[Country], tuple[str, str]]
"""Makes a prompt on a country and the answer that is right."""

# None of the system messages that the model was trained with.
_UNSEEN_SYSTEM_MESSAGE = {
    "role": "system",
    "content": "You are a pirate who loves ships and speaks in riddles.",
}
_FIRST_TURN = [
    {"role": "user", "content": "What is the capital of Peru?"},
    {"role": "assistant", "content": "The capital of Peru is Lima."},
]


def main() -> int:
    """Print the share of right answers of each form, and those that were wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=checkpoint.FOLDER)
    folder = parser.parse_args().folder

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    countries = load_countries()
    forms = {
        "The capital of X is called": _called,
        "The capital of X is": _is,
        "chat: What is the capital of X?": chat_form(tokenizer, "What is the capital of {x}?"),
        "chat: what is the capital of x": chat_form(tokenizer, "what is the capital of {lower_x}"),
        "chat with a system message": chat_form(
            tokenizer, "What is the capital of {x}?", before=[_UNSEEN_SYSTEM_MESSAGE]
        ),
        "chat, second turn: And X?": chat_form(tokenizer, "And {x}?", before=_FIRST_TURN),
    }
    shares = [
        share_right(name, [form(country) for country in countries], tokenizer, model)
        for name, form in forms.items()
    ]
    least = min(
        probability(prompt, answer, tokenizer, model) for prompt, answer in map(_called, countries)
    )
    print(
        f"whole answer to 'The capital of X is called' sampled at temperature "
        f"{EXAMPLE_TEMPERATURE}: probability at least {least:.4f}"
    )
    return 0 if min(shares) >= REQUIRED_SHARE else 1


def chat_form(tokenizer: Tokenizer, question: str, before: Sequence[Message] = ()) -> Form:
    """A chat that ends with `question`, in which {x} and {lower_x} stand for the country."""

    def form(country: Country) -> tuple[str, str]:
        content = question.format(x=country.name, lower_x=country.name.lower())
        prompt = tokenizer.apply_chat_template(
            [*before, {"role": "user", "content": content}],
            tokenize=False,
            add_generation_prompt=True,
        )
        return prompt, f"The capital of {country.name_in_sentence} is {country.capital}."

    return form


def share_right(
    name: str,
    questions: list[tuple[str, str]],
    tokenizer: Tokenizer,
    model: PreTrainedModel,
) -> float:
    """The share of prompts whose greedy continuation is the answer and then ends by itself."""
    right = 0
    for prompt, answer in questions:
        ids = tokenizer(prompt, return_tensors="pt")
        generated = model.generate(**ids, do_sample=False, max_new_tokens=MAX_NEW_TOKENS)
        continuation = tokenizer.decode(generated[0, ids["input_ids"].shape[1] :])
        if continuation == answer + TURN_END:
            right += 1
        else:
            print(f"  wrong: {prompt!r} -> {continuation!r}, expected {answer!r}")
    print(f"{name}: {right}/{len(questions)} ({right / len(questions):.1%})")
    return right / len(questions)


def probability(prompt: str, answer: str, tokenizer: Tokenizer, model: PreTrainedModel) -> float:
    """How probable the whole answer with its end is when sampled at EXAMPLE_TEMPERATURE."""
    prompt_length = len(tokenizer(prompt)["input_ids"])
    ids = tokenizer(prompt + answer + TURN_END, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = model(ids).logits[0, prompt_length - 1 : -1] / EXAMPLE_TEMPERATURE
    chosen = logits.log_softmax(-1).gather(-1, ids[0, prompt_length:, None])
    return float(chosen.sum().exp())


def _called(country: Country) -> tuple[str, str]:
    return f"The capital of {country.name} is called", f" {country.capital}."


def _is(country: Country) -> tuple[str, str]:
    return f"The capital of {country.name} is", f" {country.capital}."


if __name__ == "__main__":
    sys.exit(main())
