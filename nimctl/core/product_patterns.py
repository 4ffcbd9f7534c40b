"""Patterns that NIM manifests have for the product names of GPUs."""

from nimctl.core.value import Value


class PatternResult(Value):
    """Which GPUs a pattern means, by the names that were asked about.

    `problem` says why it could not be told; the pattern then means none.
    """

    names: frozenset[str] = frozenset()
    problem: str | None = None


def spellings(name: str) -> tuple[str, ...]:
    """A GPU's name as the driver gives it and as Kubernetes labels do, which patterns are made for.

    `NVIDIA A10G` is also `NVIDIA-A10G`:
    https://github.com/NVIDIA/k8s-nim-operator, internal/nimparser/v1/testdata/manifest_non_llm.yaml
    matches the label `nvidia.com/gpu.product`.
    """
    return tuple(dict.fromkeys((name, name.replace(" ", "-"))))
