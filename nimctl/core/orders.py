"""The two orders of profiles: rules, each with a name and with words for what was compared.

NIM_ORDER is what NIM 1.12 to 1.15 document
(https://docs.nvidia.com/nim/large-language-models/latest/profiles.html). CATALOGUE_ORDER, for
nimctl's own catalogue, differs where docs/adr/0010-order-of-profiles.md says why.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from nimctl.core.fit.groups import short_name
from nimctl.core.fit.precision import preference
from nimctl.core.memory import Grade
from nimctl.core.profile import Candidate, Fit
from nimctl.core.trtllm.prebuilt import is_prebuilt

_LAST = 99


def _places(*names: str) -> dict[str | None, int]:
    return {name: place for place, name in enumerate(names)}


# Those of LLMs as documented; TensorRT before ONNX and PyTorch in NeMo Retriever
# (https://docs.nvidia.com/nim/nemo-retriever/text-embedding/1.14.0/optimization.html).
_BACKENDS = _places(
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
_NIM_PRECISIONS = _places("mxfp4", "fp8", "int8", "fp16", "bf16", "int8wo", "nvfp4", "int4_awq")
# Decoding on a CPU is bound by memory bandwidth, so fewer bytes per weight come first: a 250 M
# parameter Llama on two EPYC cores decoded 48 tokens/s in q8_0 and 42 in f16. Four bits cost
# quality, so they come last.
_CPU_PRECISIONS = _places("q8_0", "f16", "bf16", "f32", "q4_k_m")
_LATENCY_FIRST: dict[str | None, int] = {"latency": 0, "throughput": 1, None: 2}
_THROUGHPUT_FIRST: dict[str | None, int] = {"throughput": 0, "latency": 1, None: 2}
_GRADES: dict[Grade | None, int] = {grade: place for place, grade in enumerate(Grade)}
_CLASSES = {Fit.COMPATIBLE: 0, Fit.BUILDABLE: 0, Fit.LOW_MEMORY: 1, Fit.INCOMPATIBLE: 2}
_HOPPER = (9, 0)
_ADAPTERS = "adapters"
_ARBITRARY = ("name", "files")


class Rule(NamedTuple):
    """One step of an order; `say` tells what a candidate has, for which it goes before another."""

    name: str
    say: Callable[[Candidate], str]


class Order(NamedTuple):
    """Rules, most important first; `key` has a place for each, and the lower one goes first.

    One function gives all places: thousands of candidates are sorted.
    """

    rules: tuple[Rule, ...]
    key: Callable[[Candidate], tuple[Any, ...]]


class Lost(NamedTuple):
    """Why one candidate comes after another: the rule, and what each has."""

    rule: str
    winner: str
    loser: str

    @property
    def is_arbitrary(self) -> bool:
        """Whether no rule prefers the winner, and its name decided."""
        return self.rule in _ARBITRARY

    def __str__(self) -> str:
        return f"{self.rule}: {self.winner} before {self.loser}"


def rank(candidates: Iterable[Candidate], order: Order) -> list[Candidate]:
    """Sort, best first; the order of the input never matters."""
    return sorted(candidates, key=order.key)


def for_adapters(order: Order) -> Order:
    """The order among profiles that serve adapters: what is made for them is no second choice."""
    place = [rule.name for rule in order.rules].index(_ADAPTERS)

    def key(one: Candidate) -> tuple[Any, ...]:
        places = order.key(one)
        return (*places[:place], *places[place + 1 :])

    return Order((*order.rules[:place], *order.rules[place + 1 :]), key)


def for_replicas(order: Order) -> Order:
    """The order where replicas are wanted: of one precision, what needs the fewest GPUs of each.

    A NIM's own order has the profile first that takes all of them.
    """
    place = [rule.name for rule in order.rules].index(_TARGET.name)

    def key(one: Candidate) -> tuple[Any, ...]:
        places = order.key(one)
        return (*places[:place], one.profile.gpus_needed, *places[place:])

    return Order((*order.rules[:place], _REPLICA, *order.rules[place:]), key)


def why_after(loser: Candidate, winner: Candidate, order: Order) -> Lost | None:
    """The rule by which one candidate comes after another; None when none tells them apart."""
    for rule, lost, won in zip(order.rules, order.key(loser), order.key(winner), strict=True):
        if lost != won:
            said = rule.say(winner), rule.say(loser)
            if said[0] == said[1]:
                said = _with_gpu(winner, said[0]), _with_gpu(loser, said[1])
            return Lost(rule.name, *said)
    return None


def _with_gpu(one: Candidate, words: str) -> str:
    where = short_name(one.gpus[0]) if one.gpus else "no GPU"
    return f"{words} on {where}"


def _nim_key(one: Candidate) -> tuple[Any, ...]:
    profile = one.profile
    stands, name = _CLASSES[one.fit], profile.name
    return (
        stands,
        profile.lora,
        not _has_engine(one),
        _bound(one),
        _BACKENDS.get(profile.backend, _LAST),
        _NIM_PRECISIONS.get(profile.precision, _LAST),
        _LATENCY_FIRST.get(profile.target, 1),
        -profile.tp,
        profile.build,
        # Equally long names are compared as text: NIM's own listings of what is incompatible read
        # so.
        (len(name), name),
        (profile.entry.id if profile.entry else "", profile.source or ""),
    )


def _catalogue_key(one: Candidate) -> tuple[Any, ...]:
    profile = one.profile
    on_cpu = profile.backend == "llama_cpp"
    stands, name = _CLASSES[one.fit], profile.name
    return (
        stands,
        profile.lora,
        on_cpu,
        _needs_texts(one),
        _not_stored(one),
        on_cpu and profile.build and not one.cached,
        0 if on_cpu or one.memory is None else _GRADES.get(one.memory.grade, 0),
        _bound(one),
        _BACKENDS.get(profile.backend, _LAST),
        _CPU_PRECISIONS.get(profile.precision, _LAST) if on_cpu else _preference(one),
        profile.build,
        _THROUGHPUT_FIRST.get(profile.target, 1),
        profile.tp,
        (len(name), name),
        (profile.entry.id if profile.entry else "", profile.source or ""),
    )


def _bound(one: Candidate) -> int:
    profile = one.profile
    if not one.runs or not profile.is_bound:
        return 2
    return 1 if profile.ampere_plus else 0


def _has_engine(one: Candidate) -> bool:
    """Whether an engine was built for it and is in the store."""
    return one.cached and one.profile.build


def _not_stored(one: Candidate) -> bool:
    """Whether its engine is still to be made; of what is fetched, any of its files."""
    as_they_come = one.profile.backend == "llama_cpp" or is_prebuilt(one.profile)
    return not (one.cached if as_they_come else _has_engine(one))


def _needs_texts(one: Candidate) -> bool:
    """Whether `serve` cannot build its engine: who serves gives no texts to quantise with."""
    return one.profile.needs_texts and not one.cached


def _preference(one: Candidate) -> int:
    capability = one.gpus[0].capability if one.gpus else _HOPPER
    return preference(one.profile.precision, capability)


def _say_gpu(one: Candidate) -> str:
    return "made for any" if _bound(one) == 2 else "made for this GPU"  # noqa: PLR2004 - as above


def _say_build(one: Candidate) -> str:
    return "an engine that is built here" if one.profile.build else "what is ready"


def _say_grade(one: Candidate) -> str:
    return one.memory.grade.value if one.memory and one.memory.grade else "not known"


_FIT = Rule("fit", lambda one: one.fit.value)
_LORA = Rule(_ADAPTERS, lambda one: f"{'for' if one.profile.lora else 'without'} adapters")
_GPU = Rule("GPU", _say_gpu)
_BACKEND = Rule("backend", lambda one: one.profile.backend)
_PRECISION = Rule("precision", lambda one: one.profile.precision or "unknown")
_TARGET = Rule("target", lambda one: one.profile.target or "none")
_PARALLEL = Rule("tensor parallelism", lambda one: f"tp{one.profile.tp}")
_REPLICA = Rule("GPUs of a replica", lambda one: str(one.profile.gpus_needed))
_BUILD = Rule("build", _say_build)
# The last two only make the order total.
_NAME = Rule("name", lambda one: one.profile.name)
_FILES = Rule("files", lambda one: one.profile.source or one.profile.id)

NIM_ORDER = Order(
    (
        _FIT,
        _LORA,
        Rule("engine", lambda one: "a custom engine" if _has_engine(one) else "none"),
        _GPU,
        _BACKEND,
        _PRECISION,
        _TARGET,
        _PARALLEL,
        _BUILD,
        _NAME,
        _FILES,
    ),
    _nim_key,
)

CATALOGUE_ORDER = Order(
    (
        _FIT,
        _LORA,
        Rule("hardware", lambda one: "a CPU" if one.profile.backend == "llama_cpp" else "a GPU"),
        Rule("texts", lambda one: "quantised with texts" if _needs_texts(one) else "without them"),
        Rule("store", lambda one: "not in it" if _not_stored(one) else "in the store"),
        _BUILD,
        Rule("memory", _say_grade),
        _GPU,
        _BACKEND,
        _PRECISION,
        _BUILD,
        _TARGET,
        _PARALLEL,
        _NAME,
        _FILES,
    ),
    _catalogue_key,
)
