"""Judging and ranking 10,000 profiles of a manifest, against reading them as JSON, in one run.

No peer does this outside its container; what a user would wait for anyway is the parser.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from machines import host
from measure import in_turns, machine

from nimctl.core.choice import choose
from nimctl.core.fit import Judge, engines_for
from nimctl.core.gpus import PARTS
from nimctl.core.nim_manifest import ManifestProfile
from nimctl.core.nim_profiles import profile_of
from nimctl.core.orders import NIM_ORDER, rank
from nimctl.core.profile import Candidate, Profile, Wish

COUNT = 10_000
ROUNDS = 7


def entries() -> list[ManifestProfile]:
    """Profiles as manifests have them: each GPU of the table, precision, degree, target, LoRA."""
    combinations = itertools.product(
        (None, *(part for part in PARTS if part.pci_devices)),
        ("mxfp4", "fp8", "bf16", "fp16", "int4_awq"),
        ("1", "2", "4", "8"),
        ("latency", "throughput"),
        ("false", "true"),
    )
    found = []
    for number, (part, precision, tp, target, lora) in enumerate(combinations):
        bound = {"gpu": part.key, "gpu_device": f"{part.pci_devices[0]}:10de"} if part else {}
        tags = {
            "llm_engine": "tensorrt_llm" if part else "vllm",
            "precision": precision,
            "tp": tp,
            "pp": "1",
            "profile": target,
            "feat_lora": lora,
            **bound,
        }
        found.append(ManifestProfile(id=f"{number:064x}", tags=tags))
    return found[:COUNT]


def judged(profiles: list[Profile], judge: Judge) -> list[Candidate]:
    """Every candidate."""
    return [judge.judge(profile) for profile in profiles]


def cpu_ms(action: Callable[[], object]) -> float:
    """Processor time of one call, in milliseconds."""
    began = time.process_time()
    action()
    return 1000 * (time.process_time() - began)


def main() -> None:
    """Print a table of medians."""
    found = entries()
    profiles = [profile_of(entry) for entry in found]
    document = json.dumps([entry.tags for entry in found])
    mixed = host("h100_sxm", "h100_sxm", "h100_sxm", "h100_sxm", "rtx_4090")

    def all_of_it() -> None:
        judge = Judge(mixed, covered=engines_for(profiles))
        choose(rank(judged(profiles, judge), NIM_ORDER), Wish(), NIM_ORDER)

    ready = judged(profiles, Judge(mixed))
    candidates = {
        "json.loads of their tags": partial(cpu_ms, partial(json.loads, document)),
        "tags to profiles": partial(cpu_ms, lambda: [profile_of(entry) for entry in found]),
        "judged": partial(cpu_ms, lambda: judged(profiles, Judge(mixed))),
        "ranked": partial(cpu_ms, partial(rank, ready, NIM_ORDER)),
        "judged, ranked and one chosen": partial(cpu_ms, all_of_it),
    }
    medians = in_turns(candidates, ROUNDS)
    print(f"{machine()}; {len(profiles):,} profiles, median of {ROUNDS}, in turns\n")
    print("| step | CPU ms |\n|---|---|")
    for name, figure in medians.items():
        print(f"| {name} | {figure:.0f} |")


if __name__ == "__main__":
    main()
