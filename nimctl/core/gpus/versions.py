"""Which of a model's versions on NGC suit a host's GPUs."""

from nimctl.core.gpus.lookup import means
from nimctl.core.machine import Host
from nimctl.core.ngc import ModelVersion

# Names of versions are looser than tags of profiles: the PCIe card has the same chip.
_ALSO = {"a100": "a100pcie"}


def suits(version: ModelVersion, host: Host) -> bool | None:
    """Tell whether the host has the GPUs that a version was built for; None when it names none."""
    if version.gpu is None:
        return None
    tags = (version.gpu, _ALSO.get(version.gpu.lower()))
    there = sum(any(means(gpu, tag=tag) for tag in tags) for gpu in host.gpus)
    return there >= (version.gpu_count or 1)
