"""Which of a model's versions on NGC suit a host's GPUs."""

from nimctl.core.gpus.lookup import means
from nimctl.core.machine import Host
from nimctl.core.ngc import ModelVersion


def suits(version: ModelVersion, host: Host) -> bool | None:
    """Tell whether the host has the GPUs that a version was built for; None when it names none."""
    if version.gpu is None:
        return None
    there = sum(means(gpu, tag=version.gpu) for gpu in host.gpus)
    return there >= (version.gpu_count or 1)
