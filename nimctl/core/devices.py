"""Which GPUs a server may have: those that were asked for and are free of other servers."""

from collections.abc import Iterable, Mapping

import msgspec

from nimctl.core.errors import HardwareError, UsageError
from nimctl.core.machine import Gpu, Host
from nimctl.core.value import Value


class GpuWish(Value):
    """What `--gpus` said: `count` GPUs, or `devices` by index or UUID; neither means any.

    `shared` takes GPUs as well that another server of nimctl's already has.
    """

    count: int | None = None
    devices: tuple[str, ...] = ()
    shared: bool = False

    @property
    def is_none(self) -> bool:
        """Whether no GPU is wanted at all."""
        return self.count == 0

    @property
    def is_some(self) -> bool:
        """Whether GPUs are asked for in so many words, so that the CPU will not do."""
        return bool(self.count or self.devices)


ANY_GPUS = GpuWish()


def parse_gpus(text: str, *, shared: bool = False) -> GpuWish:
    """Read `all`, `none`, a number, or `device=0,1,GPU-…,MIG-…`.

    Raises:
        UsageError: It is none of these.
    """
    wanted = text.strip()
    if wanted == "all":
        return GpuWish(shared=shared)
    if wanted == "none":
        return GpuWish(count=0)
    if wanted.isdigit() and int(wanted) > 0:
        return GpuWish(count=int(wanted), shared=shared)
    key, equals, names = wanted.strip('"').partition("=")
    devices = tuple(name.strip() for name in names.split(",") if name.strip())
    if key == "device" and equals and devices:
        return GpuWish(devices=devices, shared=shared)
    raise UsageError(
        f"`--gpus {text}` is not understood",
        cause="it is all, none, a number, or device=0,1 with indices or UUIDs",
    )


def within_reach(host: Host, wish: GpuWish, taken: Mapping[str, str]) -> Host:
    """The same machine with only those GPUs that may be used; `taken` maps UUIDs to servers.

    Raises:
        HardwareError: A GPU that was named is not there, or another server has it.
    """
    if wish.is_none:
        return msgspec.structs.replace(host, gpus=())
    named = tuple(_named(host.gpus, device) for device in wish.devices)
    for gpu in named:
        if gpu.uuid in taken and not wish.shared:
            raise HardwareError(
                f"GPU {gpu.index} ({gpu.name}) is in use by the server {taken[gpu.uuid]}",
                hint=f"nimctl stop {taken[gpu.uuid]}, or --share-gpus to give it to both",
            )
    gpus = named or host.gpus
    free = gpus if wish.shared else tuple(gpu for gpu in gpus if gpu.uuid not in taken)
    return msgspec.structs.replace(host, gpus=free)


def _named(gpus: Iterable[Gpu], device: str) -> Gpu:
    there = tuple(gpus)
    for gpu in there:
        # A slice has the index of the GPU that it is cut from, which names no slice.
        if device == gpu.uuid or (device == str(gpu.index) and gpu.mig_profile is None):
            return gpu
    known = ", ".join(f"{gpu.index} {gpu.uuid} ({gpu.name})" for gpu in there)
    raise HardwareError(
        f"there is no GPU `{device}`", cause=f"there are {known}" if known else "there is none"
    )
