"""What is known of an image before it is pulled: whether it is of any use here, and fits."""

from nimctl.core.containers import Image, ImageOffer
from nimctl.core.errors import DiskFullError, HardwareError
from nimctl.core.machine import ContainerEngine
from nimctl.core.sizes import in_words


def check_image(
    name: str, there: Image | None, offer: ImageOffer | None, engine: ContainerEngine
) -> None:
    """Refuse an image that this machine cannot run, or has no room for.

    Raises:
        HardwareError: It is for other processors.
        DiskFullError: Not even what is sent of it fits.
    """
    offered = (there.architecture,) if there else offer.architectures if offer else ()
    if offered and engine.architecture not in offered:
        raise HardwareError(
            f"{name} is for {', '.join(offered)}, this machine is {engine.architecture}",
            hint="choose another image with --image",
        )
    size = offer.size if offer and there is None else None
    free = engine.disk_free_bytes
    if size is not None and free is not None and size > free:
        raise DiskFullError(
            f"{name} does not fit: {in_words(size)} are pulled, {in_words(free)} are free",
            cause=f"on the disk of {engine.kind}, where it takes even more once it is unpacked",
            hint=f"{engine.kind} system df shows what lies there, {engine.kind} image prune frees"
            " what nothing uses",
        )
