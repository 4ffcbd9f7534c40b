"""From the tags of NIM manifests to profiles that can be judged, and the names that NIM prints."""

import re
from collections.abc import Iterable

from nimctl.core.nim_manifest import ManifestProfile
from nimctl.core.profile import ManifestEntry, Profile

_YES = ("true", "1", "yes", "enabled")
_TARGETS = ("latency", "throughput")
# What NIM appends for adapters, from one release to the next: -lora, -lora-lora, -lora-32 and
# -feat_lora.
_ADAPTER_WORDS = frozenset({"lora", "feat_lora"})
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
# Riva's tags name no engine: their profiles run in Triton.
_SPEECH_BACKEND = "triton"
_UNKNOWN = "unknown"


def profile_of(entry: ManifestProfile) -> Profile:
    """What a manifest's profile asks of a host; its own id and all of its tags are kept.

    A GB in a tag is taken for 10**9 bytes; no document says which it is.
    """
    tags = entry.tags
    backend = (tags.get("llm_engine") or tags.get("backend") or "").lower()
    memory_gb = _number(tags, "min_vram_per_device_gb")
    target = tags.get("profile", "").lower()
    is_pytorch = backend == "tensorrt_llm" and "pytorch" in map(str.lower, tags.values())
    return Profile(
        backend=backend or (_SPEECH_BACKEND if "model_type" in tags else _UNKNOWN),
        precision=tags.get("precision", "").lower() or None,
        build=_is(tags, "trtllm_buildable") or tags.get("model_type") == "rmir",
        tp=_count(tags, "tp") or 1,
        pp=_count(tags, "pp") or 1,
        target=target if target in _TARGETS else None,
        runtime="pytorch" if is_pytorch else None,
        gpu=tags.get("gpu") or None,
        gpu_device=tags.get("gpu_device") or None,
        product_pattern=tags.get("product_name_regex") or None,
        ampere_plus=_is(tags, "ampereplus"),
        gpu_count=_count(tags, "number_of_gpus"),
        gpu_memory_bytes=round(memory_gb * 10**9) if memory_gb is not None else None,
        lora=_is(tags, "feat_lora"),
        lora_max_rank=_count(tags, "feat_lora_max_rank"),
        entry=ManifestEntry(id=entry.id, name=name_of(tags), tags=tags),
    )


def name_of(tags: dict[str, str]) -> str:
    """The name that NIM 1.0 to 1.8 print for a profile: `tensorrt_llm-h100-fp8-tp2-pp1-latency`.

    Where tags name no engine, all of them as Riva prints them: `mode:ofl|name:parakeet`.
    https://docs.nvidia.com/nim/large-language-models/1.12.0/profiles.html,
    https://docs.nvidia.com/nim/speech/latest/reference/utilities.html
    """
    engine = tags.get("llm_engine") or tags.get("backend")
    if not engine:
        return "|".join(f"{tag}:{value}" for tag, value in sorted(tags.items())) or _UNKNOWN
    parts = (
        engine,
        "trtllm_buildable" if _is(tags, "trtllm_buildable") else None,
        (tags.get("gpu") or tags.get("key", "")).lower(),
        tags.get("precision"),
        f"tp{tags['tp']}" if tags.get("tp") else None,
        f"pp{tags['pp']}" if tags.get("pp") else None,
        tags.get("profile"),
        "lora" if _is(tags, "feat_lora") else None,
    )
    return "-".join(part for part in parts if part)


def named(profiles: Iterable[Profile], text: str) -> list[Profile]:
    """The profiles that a text means, by id or by any name that some NIM prints for them."""
    wanted, everything = text.strip().lower(), tuple(profiles)
    exact = [one for one in everything if wanted in (one.id.lower(), one.name.lower())]
    return exact or [one for one in everything if _is_named(one, wanted)]


def _is_named(profile: Profile, wanted: str) -> bool:
    """Whether a longer or shorter name has the same words.

    NIM 1.12 and later append the values of more tags (device, hash of the workspace, count of
    GPUs); before 1.3 names have no `pp`.
    """
    own = [part for part in profile.name.lower().split("-") if part != "lora"]
    asked = wanted.split("-")
    if bool(_ADAPTER_WORDS & {*asked}) != profile.lora:
        return False
    optional = {f"pp{profile.pp}"} if profile.pp == 1 else set()
    values = {word for value in profile.tags.values() for word in value.lower().split("-")}
    allowed = {*own, *values, *_ADAPTER_WORDS}
    return {*asked} <= allowed and {*own} - optional <= {*asked}


def _is(tags: dict[str, str], tag: str) -> bool:
    value = tags.get(tag)
    return value is not None and value.lower() in _YES


def _number(tags: dict[str, str], tag: str) -> float | None:
    text = tags.get(tag)
    return float(text) if text and _NUMBER.fullmatch(text) else None


def _count(tags: dict[str, str], tag: str) -> int | None:
    number = _number(tags, tag)
    return int(number) if number else None
