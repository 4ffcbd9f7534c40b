"""What an engine is built of and for: all that the choice of commands depends on."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from nimctl.core.architecture import Architecture
from nimctl.core.facts import Artifact
from nimctl.core.machine import Gpu
from nimctl.core.profile import Profile
from nimctl.core.trtllm.limits import LimitsWish
from nimctl.core.value import Value

Form: TypeAlias = Literal["checkpoint", "quantised", "trtllm_checkpoint", "engine"]
Strategy: TypeAlias = Literal["prebuilt", "tensorrt", "pytorch", "llama_cpp"]
KvCache: TypeAlias = Literal["auto", "fp8", "int8"]

# What ModelOpt writes beside the weights: NVIDIA/Model-Optimizer, examples/hf_ptq/README.md.
QUANTISED_MARK = "hf_quant_config.json"


# So many texts are measured with: the default of quantize.py, `--calib_size`.
SAMPLES = 512


class Calibration(Value):
    """A local file of texts that quantisation measures activations with.

    `sha256` is part of the engine key: other texts give another engine. `texts` is how many there
    are, of those that are used, None where they were not counted. `flaw` is why the builder could
    not read it.
    """

    path: str
    sha256: str
    size: int
    texts: int | None = None
    flaw: str | None = None


class BuildOptions(Value):
    """What was asked of a build; None leaves it to nimctl.

    `settings` are flags of the builder's own commands. `warm_up` has what is served without an
    engine started once. `built_for` is the key of the GPU that an engine from elsewhere was built
    for, where nothing else tells.
    """

    strategy: Strategy | None = None
    builder: Literal["auto", "container", "local"] = "auto"
    image: str | None = None
    limits: LimitsWish = LimitsWish()
    kv_cache: KvCache | None = None
    tp: int | None = None
    pp: int | None = None
    calibration: Calibration | None = None
    settings: dict[str, str] = {}
    warm_up: bool = True
    built_for: str | None = None


NO_OPTIONS = BuildOptions()


class Subject(Value):
    """A checkpoint, the profile that is wanted of it, and the GPUs that it is built for.

    `gpus` are alike and as many as the profile needs, each with `memory_bytes`, which are the
    host's where a GPU shares it; `version` is the builder's TensorRT-LLM.
    """

    model: str
    profile: Profile
    architecture: Architecture
    form: Form
    gpus: tuple[Gpu, ...]
    memory_bytes: int
    version: str

    @property
    def world_size(self) -> int:
        """How many GPUs serve it together."""
        return self.profile.tp * self.profile.pp

    @property
    def class_name(self) -> str | None:
        """The entry of `architectures` in the checkpoint's `config.json`."""
        return self.architecture.class_name


def form_of(artifact: Artifact) -> Form:
    """What an artifact is, from the names of its files."""
    return _form([PurePosixPath(file.path) for file in artifact.files])


def _form(paths: Iterable[PurePosixPath]) -> Form:
    names = {path.name for path in paths}
    if any(name.startswith("rank") and name.endswith(".engine") for name in names):
        return "engine"
    if "rank0.safetensors" in names:
        return "trtllm_checkpoint"
    return "quantised" if QUANTISED_MARK in names else "checkpoint"
