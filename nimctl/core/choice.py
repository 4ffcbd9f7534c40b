"""Which of the profiles that run is taken: rules in order, each of which can say why.

NIM_ORDER is what NIM 1.12 to 1.15 document
(https://docs.nvidia.com/nim/large-language-models/latest/profiles.html). CATALOGUE_ORDER, for
nimctl's own catalogue, differs where docs/adr/0010-order-of-profiles.md says why.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.fit.groups import short_name
from nimctl.core.fit.precision import preference
from nimctl.core.memory import Grade
from nimctl.core.profile import Candidate, Fit, Profile, Wish

_SHORTEST_ID = 8
_LAST = 99

# Those of LLMs as documented; TensorRT before ONNX and PyTorch in NeMo Retriever
# (https://docs.nvidia.com/nim/nemo-retriever/text-embedding/1.14.0/optimization.html).
_BACKENDS = (
    "tensorrt_llm",
    "vllm",
    "sglang",
    "tensorrt",
    "onnx",
    "pytorch",
    "nim",
    "nemollm",
    "llama_cpp",
)
_FLAGGED = ("vllm", "sglang", "llama_cpp", "nim")
_NIM_PRECISIONS = ("mxfp4", "fp8", "int8", "fp16", "bf16", "int8wo", "nvfp4", "int4_awq")
# Decoding on a CPU is bound by memory bandwidth, so fewer bytes per weight come first: a 250 M
# parameter Llama on two EPYC cores decoded 48 tokens/s in q8_0 and 42 in f16. Four bits cost
# quality, so they come last.
_CPU_PRECISIONS = ("q8_0", "f16", "bf16", "f32", "q4_k_m")
_GRADES = list(Grade)
_HOPPER = (9, 0)


class Rule(NamedTuple):
    """One step of an order: the lower rank wins, and `say` tells what was compared."""

    name: str
    rank: Callable[[Candidate], Any]
    say: Callable[[Candidate], str]


Order = Sequence[Rule]


class Lost(NamedTuple):
    """Why one candidate comes after another: the rule, and what each has."""

    rule: str
    winner: str
    loser: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.winner} before {self.loser}"


class Choice(NamedTuple):
    """The candidate that is taken, and why it comes before the next that runs."""

    candidate: Candidate
    why: str


def rank(candidates: Iterable[Candidate], order: Order) -> list[Candidate]:
    """Sort, best first; the order of the input never matters."""
    return sorted(candidates, key=lambda one: [rule.rank(one) for rule in order])


def why_after(loser: Candidate, winner: Candidate, order: Order) -> Lost | None:
    """The rule by which one candidate comes after another; None when none tells them apart."""
    for rule in order:
        if rule.rank(loser) != rule.rank(winner):
            said = rule.say(winner), rule.say(loser)
            if said[0] == said[1]:
                said = _with_gpu(winner, said[0]), _with_gpu(loser, said[1])
            return Lost(rule.name, *said)
    return None


def _with_gpu(one: Candidate, words: str) -> str:
    where = short_name(one.gpus[0]) if one.gpus else "no GPU"
    return f"{words} on {where}"


def choose(candidates: Iterable[Candidate], wish: Wish, order: Order) -> Choice | None:
    """Take the best that runs and is as it was asked for; None when none is.

    Raises:
        NotFoundError: A profile was named that is not among them.
        UsageError: Nothing has what was asked for, or the beginning of an id means several.
    """
    running = [one for one in matching(candidates, wish, order) if one.runs]
    if not running:
        return None
    first, *others = running
    if wish.profile:
        return Choice(first, "it was asked for")
    if not others:
        return Choice(first, "no other runs here")
    lost = why_after(others[0], first, order)
    if lost is None or lost.rule in (_NAME.name, _SOURCE.name):
        return Choice(first, "the first by name, for no rule prefers another")
    return Choice(first, str(lost))


def matching(candidates: Iterable[Candidate], wish: Wish, order: Order) -> list[Candidate]:
    """Keep what the user asked for, best first.

    A profile that is named is kept whatever else holds.

    Raises:
        NotFoundError: A profile was named that is not among them.
        UsageError: Nothing has what was asked for, or the beginning of an id means several.
    """
    # With adapters, what is made for them is no second choice.
    order = [rule for rule in order if rule is not _ADAPTERS] if wish.lora else order
    ranked = rank(candidates, order)
    if wish.profile:
        return _named(ranked, wish.profile)
    for field, asked in (
        ("backend", wish.backend),
        ("precision", wish.precision),
        ("target", wish.target),
    ):
        if asked:
            ranked = _narrowed(ranked, field, asked)
    if wish.tags:
        ranked = _tagged(ranked, wish.tags)
    return _for_adapters(ranked, lora=wish.lora)


def _named(ranked: list[Candidate], text: str) -> list[Candidate]:
    wanted = text.strip()
    # As NIM prints it: `id (name)`.
    if wanted.endswith(")") and " (" in wanted:
        wanted = wanted.partition(" (")[0]
    exact = [one for one in ranked if wanted in (one.profile.name, one.profile.id)]
    if exact:
        return exact
    if len(wanted) >= _SHORTEST_ID:
        begun = [one for one in ranked if one.profile.id.startswith(wanted)]
        if len({one.profile.id for one in begun}) > 1:
            raise UsageError(
                f"several profiles begin with `{wanted}`",
                cause=", ".join(one.profile.name for one in begun),
                hint="give more of the id",
            )
        if begun:
            return begun
    shown = ", ".join(one.profile.name for one in ranked[:8])
    more = f" and {len(ranked) - 8} more" if len(ranked) > 8 else ""  # noqa: PLR2004 - as above
    raise NotFoundError(
        f"there is no profile `{text}`",
        cause=f"there are {shown}{more}" if ranked else None,
        hint="nimctl list-profiles MODEL --all",
    )


def _narrowed(ranked: list[Candidate], field: str, asked: str) -> list[Candidate]:
    there = {value for one in ranked if (value := getattr(one.profile, field))}
    # A profile for both targets names none.
    allowed = (asked, None) if field == "target" else (asked,)
    kept = [one for one in ranked if getattr(one.profile, field) in allowed]
    if not kept:
        raise UsageError(
            f"no profile has {field} {asked}", cause="there is " + ", ".join(sorted(there))
        )
    return kept


def _tagged(ranked: list[Candidate], tags: dict[str, str]) -> list[Candidate]:
    kept = [one for one in ranked if _has_tags(one.profile, tags)]
    if not kept:
        words = ",".join(f"{tag}={value}" for tag, value in tags.items())
        there = sorted({tag for one in ranked for tag in one.profile.tags})
        raise UsageError(
            f"no profile has the tags {words}", cause="there are tags " + ", ".join(there)
        )
    return kept


def _has_tags(profile: Profile, tags: dict[str, str]) -> bool:
    there = profile.tags
    return all(there.get(tag, "").lower() == value.lower() for tag, value in tags.items())


def _for_adapters(ranked: list[Candidate], *, lora: bool) -> list[Candidate]:
    kept = [
        one for one in ranked if (_serves_adapters(one.profile) if lora else not one.profile.lora)
    ]
    if ranked and not kept:
        what = "serves LoRA adapters" if lora else "goes without LoRA adapters"
        raise UsageError(
            f"no profile {what}",
            cause="there are " + ", ".join(one.profile.name for one in ranked[:8]),
            hint="leave --lora out, and unset NIM_PEFT_SOURCE" if lora else "give --lora",
        )
    return kept


def _serves_adapters(profile: Profile) -> bool:
    """Of a NIM's profiles those made for it do; a NIM that chooses its own takes one of them.

    vLLM, SGLang and llama.cpp take a flag, and so does TensorRT-LLM where it serves a checkpoint;
    its engines are built for adapters or not.
    """
    flagged = profile.backend in _FLAGGED or profile.runtime == "pytorch"
    return profile.lora or (profile.entry is None and flagged)


def _runs(one: Candidate) -> int:
    if one.runs:
        return 0
    return 1 if one.fit is Fit.LOW_MEMORY else 2


def _custom(one: Candidate) -> bool:
    return not (one.cached and one.profile.build)


def _in_store(one: Candidate) -> bool:
    if one.profile.backend == "llama_cpp":
        return not one.cached
    return _custom(one)


def _bound(one: Candidate) -> int:
    if not one.runs or not one.profile.is_bound:
        return 2
    return 1 if one.profile.ampere_plus else 0


def _backend(one: Candidate) -> int:
    return _place(one.profile.backend, _BACKENDS)


def _nim_precision(one: Candidate) -> int:
    return _place(one.profile.precision, _NIM_PRECISIONS)


def _own_precision(one: Candidate) -> int:
    if one.profile.backend == "llama_cpp":
        return _place(one.profile.precision, _CPU_PRECISIONS)
    capability = one.gpus[0].capability if one.gpus else _HOPPER
    return preference(one.profile.precision, capability)


def _grade(one: Candidate) -> int:
    if one.profile.backend == "llama_cpp" or one.memory is None or one.memory.grade is None:
        return 0
    return _GRADES.index(one.memory.grade)


def _ready_on_cpu(one: Candidate) -> bool:
    return one.profile.backend == "llama_cpp" and one.profile.build and not one.cached


def _place(value: str | None, order: Sequence[str]) -> int:
    return order.index(value) if value in order else _LAST


def _target(first: str) -> Callable[[Candidate], int]:
    def ranked(one: Candidate) -> int:
        return {first: 0, None: 2}.get(one.profile.target, 1)

    return ranked


def _built(one: Candidate) -> bool:
    return one.profile.build


def _say_built(one: Candidate) -> str:
    return "an engine that is built here" if one.profile.build else "what is ready"


_RUNS = Rule("fit", _runs, lambda one: one.fit.value)
# Without adapters those for them are left out, and with adapters the others are.
_ADAPTERS = Rule(
    "adapters",
    lambda one: one.profile.lora,
    lambda one: "for adapters" if one.profile.lora else "without adapters",
)
_BOUND = Rule(
    "GPU",
    _bound,
    lambda one: "made for this GPU" if _bound(one) < 2 else "made for any",  # noqa: PLR2004
)
_BACKEND = Rule("backend", _backend, lambda one: one.profile.backend)
_PARALLEL = "tensor parallelism"
_BUILT = Rule("build", _built, _say_built)
# The last two only make the order total. Equally long names are compared as text, for NIM's
# own listings of what is incompatible read so.
_NAME = Rule(
    "name",
    lambda one: (len(one.profile.name), one.profile.name),
    lambda one: one.profile.name,
)
_SOURCE = Rule(
    "files",
    lambda one: (one.profile.entry.id if one.profile.entry else "", one.profile.source or ""),
    lambda one: one.profile.source or one.profile.id,
)

NIM_ORDER: Order = (
    _RUNS,
    _ADAPTERS,
    Rule("engine", _custom, lambda one: "a custom engine" if not _custom(one) else "none"),
    _BOUND,
    _BACKEND,
    Rule("precision", _nim_precision, lambda one: one.profile.precision or "unknown"),
    Rule("target", _target("latency"), lambda one: one.profile.target or "none"),
    Rule(_PARALLEL, lambda one: -one.profile.tp, lambda one: f"tp{one.profile.tp}"),
    _BUILT,
    _NAME,
    _SOURCE,
)

CATALOGUE_ORDER: Order = (
    _RUNS,
    _ADAPTERS,
    Rule(
        "hardware",
        lambda one: one.profile.backend == "llama_cpp",
        lambda one: "a CPU" if one.profile.backend == "llama_cpp" else "a GPU",
    ),
    Rule("store", _in_store, lambda one: "not in it" if _in_store(one) else "in the store"),
    Rule("build", _ready_on_cpu, _say_built),
    Rule("memory", _grade, lambda one: _GRADES[_grade(one)].value),
    _BOUND,
    _BACKEND,
    Rule("precision", _own_precision, lambda one: one.profile.precision or "unknown"),
    _BUILT,
    Rule("target", _target("throughput"), lambda one: one.profile.target or "none"),
    Rule(_PARALLEL, lambda one: one.profile.tp, lambda one: f"tp{one.profile.tp}"),
    _NAME,
    _SOURCE,
)
