"""Train the demo model on one CPU thread from a fixed seed and write its checkpoint.

Run: OMP_NUM_THREADS=1 python tools/demo_model/train.py [FOLDER]
"""

import argparse
import math
import random
import time
from pathlib import Path

import checkpoint
import corpus
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

SEED = 20
EPOCHS = 14
TOKENS_PER_BATCH = 1024
PEAK_LEARNING_RATE = 3e-3
WARMUP_SHARE = 0.05
NOT_LEARNED = -100

# One row of a batch: token ids, and the same ids with NOT_LEARNED where no loss counts.
Row = tuple[list[int], list[int]]


def main() -> None:
    """Train, write, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=checkpoint.FOLDER)
    folder = parser.parse_args().folder

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)  # noqa: FBT003 - torch's own signature
    started_s = time.process_time()

    countries = corpus.load_countries()
    texts = corpus.text_exchanges(countries)
    chats = corpus.chat_exchanges(countries)
    tokenizer = train_tokenizer(texts + chats)
    model = LlamaForCausalLM(LlamaConfig(**checkpoint.ARCHITECTURE))
    print(f"{len(countries)} countries, {len(texts)} texts, {len(chats)} chat exchanges")

    train(model, tokenizer, texts, chats)
    checkpoint.write(folder, model.state_dict(), tokenizer)
    print(f"{folder}: {time.process_time() - started_s:.0f} CPU seconds")


def train_tokenizer(exchanges: list[corpus.Exchange]) -> Tokenizer:
    """A byte-level BPE with GPT-2's split into words and an exactly filled vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=checkpoint.ARCHITECTURE["vocab_size"],
        special_tokens=[corpus.DOCUMENT_START, corpus.TURN_START, corpus.TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rng = random.Random(SEED)  # noqa: S311 - not a secret
    documents = corpus.text_documents(exchanges, rng) + corpus.chat_documents(exchanges, rng)
    plain_texts = ("".join(segment.text for segment in document) for document in documents)
    tokenizer.train_from_iterator(plain_texts, trainer)
    return tokenizer


def train(
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
    texts: list[corpus.Exchange],
    chats: list[corpus.Exchange],
) -> None:
    """Run all epochs; each sees every exchange once, in new chats and with prompts varied anew."""
    rng = random.Random(SEED)  # noqa: S311 - not a secret
    batches: list[list[Row]] = []
    for _ in range(EPOCHS):
        documents = corpus.text_documents(texts, rng) + corpus.chat_documents(chats, rng)
        batches += batched([encode(tokenizer, document) for document in documents], rng)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_share(step, len(batches))
    )
    model.train()
    for step, batch in enumerate(batches, start=1):
        loss = batch_loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}/{len(batches)}: loss {loss.item():.4f}", flush=True)


def learning_rate_share(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    warmup = WARMUP_SHARE * steps
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def encode(tokenizer: Tokenizer, document: corpus.Document) -> Row:
    """The token ids of a document and its labels, one for each token."""
    ids: list[int] = []
    labels: list[int] = []
    for segment in document:
        segment_ids = tokenizer.encode(segment.text).ids
        ids += segment_ids
        labels += segment_ids if segment.is_learned else [NOT_LEARNED] * len(segment_ids)
    return ids, labels


def batched(rows: list[Row], rng: random.Random) -> list[list[Row]]:
    """Batches of rows of like length, in random order; their number of rows varies."""
    rng.shuffle(rows)
    rows.sort(key=lambda row: len(row[0]))
    batches: list[list[Row]] = [[]]
    for row in rows:
        if (len(batches[-1]) + 1) * len(row[0]) > TOKENS_PER_BATCH:
            batches.append([])
        batches[-1].append(row)
    rng.shuffle(batches)
    return batches


def batch_loss(model: LlamaForCausalLM, batch: list[Row]) -> torch.Tensor:
    """The mean cross entropy over the learned tokens.

    Rows are padded on the right, where causal attention never looks, so no mask is needed.
    """
    width = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
    labels = torch.tensor([labels + [NOT_LEARNED] * (width - len(labels)) for _, labels in batch])
    hidden = model.model(ids[:, :-1]).last_hidden_state
    learned = labels[:, 1:] != NOT_LEARNED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[learned]), labels[:, 1:][learned])


if __name__ == "__main__":
    main()
