"""What a machine has to build with: GPUs, a container engine, an installation."""

from nimctl.core.containers import Devices, Image, ImageOffer
from nimctl.core.engine import Engine
from nimctl.core.errors import ContainerEngineError, NotFoundError
from nimctl.core.image_check import check_image
from nimctl.core.machine import Gpu, Host
from nimctl.core.trtllm.design import Workshop
from nimctl.core.trtllm.job import INSIDE
from nimctl.core.trtllm.prebuilt import FoundEngine
from nimctl.core.trtllm.releases import (
    BUILDER_IMAGE,
    builder_name,
    installed_name,
    version_of_image,
)
from nimctl.core.trtllm.subject import BuildOptions
from nimctl.core.value import Value


class Installed(Value):
    """A TensorRT-LLM that is installed on this machine.

    `examples` is the directory of the conversion scripts, which the package does not bring; None
    where they are not.
    """

    version: str
    examples: str | None = None


class BuilderFacts(Value):
    """What was observed for a build.

    `image` is the builder's, None when the container engine does not have it; then `offer` is what
    its registry has, if that could be asked. `user` is UID:GID that containers run as, `programs`
    the directory with nimctl's own scripts. `engines` are those on this machine that TensorRT-LLM
    serves, `pulled` by their key those among them that are not in the store of engines. `may_pull`
    tells whether an image may be brought from its registry.
    """

    image: Image | None = None
    offer: ImageOffer | None = None
    installed: Installed | None = None
    user: str = "1000:1000"
    programs: str = ""
    engines: tuple[Engine, ...] = ()
    pulled: dict[str, FoundEngine] = {}
    may_pull: bool = True


def check_container_engine(host: Host) -> None:
    """Refuse a host whose containers get no GPUs.

    Raises:
        ContainerEngineError: With what is missing.
    """
    engine = host.container_engine
    if engine is None:
        raise ContainerEngineError(
            "engines are built in a container, and there is no container engine here",
            cause="neither Docker nor Podman answers, and TensorRT-LLM is not installed either",
            hint="nimctl doctor",
        )
    if not engine.offers_gpus:
        raise ContainerEngineError(
            f"{engine.kind} cannot hand GPUs to containers",
            cause="it has neither the NVIDIA runtime nor CDI devices",
            hint="install the NVIDIA Container Toolkit; nimctl doctor",
        )


def workshop(
    options: BuildOptions, host: Host, facts: BuilderFacts, gpus: tuple[Gpu, ...]
) -> tuple[Workshop, str]:
    """Where the engine is built, and the TensorRT-LLM that is there.

    Raises:
        UsageError: The image's tag does not say what is in it.
        NotFoundError: An installation was asked for, and there is none, or it lacks the scripts.
    """
    if builds_in_container(options, host, facts.installed):
        image = options.image or BUILDER_IMAGE
        shop = Workshop(
            builder=builder_name(image),
            image=image,
            devices=_devices(host, gpus),
            user=_user(host, facts),
            programs=facts.programs,
        )
        return shop, version_of_image(image)
    installed = check_installed(facts.installed)
    shop = Workshop(
        builder=installed_name(installed.version),
        programs=facts.programs,
        examples=installed.examples or INSIDE.examples,
    )
    return shop, installed.version


def builds_in_container(options: BuildOptions, host: Host, installed: Installed | None) -> bool:
    """Whether a container is used; an installation only where containers get no GPUs."""
    if options.builder != "auto":
        return options.builder == "container"
    engine = host.container_engine
    return installed is None or (engine is not None and engine.offers_gpus)


def _devices(host: Host, gpus: tuple[Gpu, ...]) -> Devices:
    engine = host.container_engine
    by_cdi = engine is not None and not engine.nvidia_runtime and bool(engine.cdi_gpus)
    return Devices(uuids=tuple(gpu.uuid for gpu in gpus), method="cdi" if by_cdi else "nvidia")


def _user(host: Host, facts: BuilderFacts) -> str:
    # A rootless engine's root is who started it, and all other users are nobody's.
    engine = host.container_engine
    return "0:0" if engine is not None and engine.rootless else facts.user


def image_to_pull(shop: Workshop, host: Host, facts: BuilderFacts) -> str | None:
    """The builder's image, when it has to be brought first.

    Raises:
        HardwareError: It is for other processors.
        DiskFullError: There is no room for it.
        NotFoundError: It is not there, and may not be pulled.
    """
    if shop.image is None:
        return None
    if host.container_engine:
        check_image(shop.image, facts.image, facts.offer, host.container_engine)
    if facts.image is not None:
        return None
    if not facts.may_pull:
        raise NotFoundError(
            f"the image {shop.image} is not here",
            cause="--offline is given",
            hint=f"docker pull {shop.image}, with the network",
        )
    return shop.image


def check_installed(found: Installed | None) -> Installed:
    """An installation that can build.

    Raises:
        NotFoundError: There is none, or it lacks the conversion scripts.
    """
    if found is None:
        raise NotFoundError(
            "TensorRT-LLM is not installed on this machine",
            cause="there is neither the package tensorrt-llm nor trtllm-build on PATH",
            hint="--builder container",
        )
    if found.examples is None:
        raise NotFoundError(
            f"TensorRT-LLM {found.version} on this machine has no conversion scripts",
            cause=f"they are not in the package; NVIDIA's image has them in {INSIDE.examples}",
            hint="--builder container",
        )
    return found
