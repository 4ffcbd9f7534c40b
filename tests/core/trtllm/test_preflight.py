"""What cannot succeed is refused before the build, with the numbers."""

import msgspec
import pytest
from trtllm_subjects import CALIBRATION, GIB, SHOP, gpus, host, subject

from nimctl.core.containers import Devices, Image, ImageOffer
from nimctl.core.errors import (
    ContainerEngineError,
    DiskFullError,
    HardwareError,
    NimctlError,
    NotFoundError,
    UsageError,
)
from nimctl.core.machine import ContainerEngine, Host
from nimctl.core.trtllm.design import design
from nimctl.core.trtllm.machine import BuilderFacts, Installed, image_to_pull, workshop
from nimctl.core.trtllm.preflight import Surveyed, disk_bytes_needed, preflight
from nimctl.core.trtllm.releases import (
    BUILDER_IMAGE,
    builder_name,
    builds_engines,
    release,
    version_of_image,
)
from nimctl.core.trtllm.subject import BuildOptions, Subject

DOCKER = ContainerEngine(
    kind="docker",
    version="28",
    endpoint="unix:///var/run/docker.sock",
    architecture="amd64",
    nvidia_runtime=True,
)
CALIBRATED = BuildOptions(calibration=CALIBRATION)
H100 = host(*gpus("h100_sxm"))


def surveyed(machine: Host, *, image: Image | None = None) -> Surveyed:
    return Surveyed(
        host=msgspec.structs.replace(machine, container_engine=DOCKER),
        release=release("1.2.1"),
        home="/srv/nimctl",
        builder=BUILDER_IMAGE,
        image=image,
    )


def check(
    one: Subject, machine: Host = H100, options: BuildOptions = CALIBRATED
) -> tuple[str, ...]:
    made = design(one, options, SHOP)
    return preflight(one, options, made.job.commands, surveyed(machine))


def test_a_machine_with_enough_of_everything_is_told_what_it_takes() -> None:
    notes = check(subject("fp8"))
    said = "\n".join(notes)
    assert f"image {BUILDER_IMAGE} is not here, about 16 GB to pull (inferred)" in said
    assert "GiB free on each GPU are needed to build" in said
    assert "of disk are needed while it runs" in said
    assert "WARNING" not in said


def test_an_image_that_is_here_is_said_to_be() -> None:
    image = Image(reference=BUILDER_IMAGE, id="sha256:1", architecture="amd64", size=30 * GIB)
    one = subject("bf16")
    made = design(one, BuildOptions(), SHOP)
    notes = preflight(one, BuildOptions(), made.job.commands, surveyed(H100, image=image))
    assert notes[0] == f"image {BUILDER_IMAGE} is here, 30.0 GiB"


def busy(free_gib: int) -> Subject:
    one = subject("fp8")
    (gpu,) = one.gpus
    taken = msgspec.structs.replace(gpu, memory_free_bytes=free_gib * GIB)
    return msgspec.structs.replace(one, gpus=(taken,))


@pytest.mark.parametrize(
    ("one", "machine", "options", "kind", "words"),
    [
        (busy(8), H100, CALIBRATED, HardwareError, "8.0 GiB are free"),
        (
            subject("fp8"),
            host(*gpus("h100_sxm"), memory_gib=12),
            CALIBRATED,
            HardwareError,
            "15 GiB of host memory, 12 GiB are free",
        ),
        (
            subject("fp8"),
            host(*gpus("h100_sxm"), disk_gib=10),
            CALIBRATED,
            DiskFullError,
            "10.0 GiB are free under /srv/nimctl",
        ),
        (subject("fp8"), H100, BuildOptions(), UsageError, "--calib FILE"),
        (
            subject("fp8"),
            H100,
            BuildOptions(calibration=msgspec.structs.replace(CALIBRATION, path="/d/texts.doc")),
            UsageError,
            "the builder reads .json, .jsonl",
        ),
        (
            subject("fp8"),
            H100,
            BuildOptions(calibration=msgspec.structs.replace(CALIBRATION, size=0)),
            UsageError,
            "is empty",
        ),
        (
            subject("bf16", gpu="rtx_4090"),
            host(*gpus("rtx_4090"), driver="535.129.03"),
            BuildOptions(),
            HardwareError,
            "needs driver 580 or later, which is inferred",
        ),
    ],
)
def test_what_cannot_succeed_is_refused(
    one: Subject, machine: Host, options: BuildOptions, kind: type[NimctlError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        check(one, machine, options)
    assert words in f"{caught.value.message} {caught.value.cause} {caught.value.hint}"


def test_what_is_still_to_be_downloaded_needs_room_too() -> None:
    one = subject("bf16")
    made = design(one, BuildOptions(), SHOP)
    free = disk_bytes_needed(one) + 2 * GIB
    machine = surveyed(msgspec.structs.replace(H100, disk_free_bytes=free))
    preflight(one, BuildOptions(), made.job.commands, machine)
    with_download = msgspec.structs.replace(machine, pending_bytes=2 * GIB)
    with pytest.raises(DiskFullError, match="the build needs"):
        preflight(one, BuildOptions(), made.job.commands, with_download)


def test_an_old_driver_of_a_data_centre_gpu_is_a_warning() -> None:
    notes = check(subject("bf16"), host(*gpus("h100_sxm"), driver="535.129.03"))
    assert any(note.startswith("WARNING: driver 535.129.03") for note in notes)


def test_little_host_memory_is_a_warning() -> None:
    notes = check(subject("bf16"), host(*gpus("h100_sxm"), memory_gib=32))
    assert any("45 GiB are what such builds are documented with" in note for note in notes)


def test_16_bits_need_no_calibration_data() -> None:
    assert check(subject("bf16"), options=BuildOptions())


@pytest.mark.parametrize(
    ("engine", "words"),
    [(None, "no container engine here"), ({"nvidia_runtime": False}, "cannot hand GPUs")],
)
def test_a_container_engine_without_gpus_is_refused(
    engine: dict[str, bool] | None, words: str
) -> None:
    one = subject("bf16")
    found = msgspec.structs.replace(DOCKER, **engine) if engine else None
    around = surveyed(H100)
    without = msgspec.structs.replace(
        around, host=msgspec.structs.replace(around.host, container_engine=found)
    )
    with pytest.raises(ContainerEngineError, match=words):
        preflight(one, BuildOptions(), (), without)


def test_the_builder_runs_where_it_can() -> None:
    here = Installed(version="1.2.1", examples="/opt/examples")
    with_docker = surveyed(H100).host
    facts = BuilderFacts(installed=here, user="7:7")
    shop, version = workshop(BuildOptions(), with_docker, facts, H100.gpus)
    assert (shop.image, shop.user, version) == (BUILDER_IMAGE, "7:7", "1.2.1")
    assert shop.devices == Devices(uuids=("GPU-00000000",))
    shop, version = workshop(BuildOptions(), H100, facts, H100.gpus)
    assert (shop.image, shop.examples, version) == (None, "/opt/examples", "1.2.1")
    # Wherever it runs, the engine is the same.
    assert shop.builder == "tensorrt_llm 1.2.1"
    forced = BuildOptions(builder="local")
    assert workshop(forced, with_docker, facts, H100.gpus)[0].image is None


@pytest.mark.parametrize(
    ("installed", "words"),
    [(None, "not installed on this machine"), (Installed(version="1.2.1"), "no conversion")],
)
def test_an_installation_that_is_not_there_or_not_whole_is_refused(
    installed: Installed | None, words: str
) -> None:
    options = BuildOptions(builder="local")
    with pytest.raises(NotFoundError, match=words):
        workshop(options, H100, BuilderFacts(installed=installed), H100.gpus)


def test_a_rootless_engine_and_cdi_are_asked_in_their_way() -> None:
    engine = msgspec.structs.replace(
        DOCKER, rootless=True, nvidia_runtime=False, cdi_gpus=("nvidia.com/gpu=0",)
    )
    machine = msgspec.structs.replace(H100, container_engine=engine)
    shop, _ = workshop(BuildOptions(), machine, BuilderFacts(), H100.gpus)
    assert shop.user == "0:0"
    assert shop.devices == Devices(uuids=("GPU-00000000",), method="cdi")


def test_an_image_is_pulled_only_where_it_is_missing_and_fits() -> None:
    machine = surveyed(H100).host
    shop, _ = workshop(BuildOptions(), machine, BuilderFacts(), H100.gpus)
    there = Image(reference=BUILDER_IMAGE, id="sha256:1", architecture="amd64", size=1)
    assert image_to_pull(shop, machine, BuilderFacts(image=there)) is None
    assert image_to_pull(shop, machine, BuilderFacts()) == BUILDER_IMAGE
    arm = ImageOffer(reference=BUILDER_IMAGE, architectures=("arm64",), size=None)
    with pytest.raises(HardwareError, match="is for arm64, this machine is amd64"):
        image_to_pull(shop, machine, BuilderFacts(offer=arm))
    with pytest.raises(NotFoundError) as caught:
        image_to_pull(shop, machine, BuilderFacts(may_pull=False))
    assert caught.value.cause == "--offline is given"


def test_the_size_that_the_registry_tells_is_said() -> None:
    offer = ImageOffer(reference=BUILDER_IMAGE, architectures=("amd64",), size=20 * GIB)
    around = msgspec.structs.replace(surveyed(H100), offer=offer)
    made = design(subject("bf16"), BuildOptions(), SHOP)
    notes = preflight(subject("bf16"), BuildOptions(), made.job.commands, around)
    assert notes[0] == f"image {BUILDER_IMAGE} is pulled: 20.0 GiB"


@pytest.mark.parametrize(
    ("image", "version", "name"),
    [
        (BUILDER_IMAGE, "1.2.1", "tensorrt_llm 1.2.1"),
        ("registry.local:5000/nvidia/tensorrt-llm/release:1.3.0rc20", "1.3.0rc20", None),
        (f"{BUILDER_IMAGE}@sha256:{'a' * 64}", "1.2.1", "tensorrt_llm 1.2.1"),
        ("localhost:5000/own/builder:1.2.1-patched", "1.2.1", "localhost:5000/own/builder:1.2.1-p"),
    ],
)
def test_the_release_is_in_the_tag_of_the_image(image: str, version: str, name: str | None) -> None:
    assert version_of_image(image) == version
    assert builder_name(image).startswith(name or f"tensorrt_llm {version}")


def test_a_tag_that_is_no_version_is_refused() -> None:
    with pytest.raises(UsageError, match="does not say which TensorRT-LLM it holds"):
        version_of_image("nvcr.io/nvidia/tensorrt-llm/release:latest")


def test_engines_end_with_the_release_that_removed_them() -> None:
    can = ["0.21.0", "1.0.0", "1.2.1", "1.2.1.post1", "1.3.0rc0", "1.3.0rc20"]
    cannot = ["1.3.0rc21", "1.3.0rc22", "1.3.0", "1.4.0rc1"]
    assert [builds_engines(version) for version in can] == [True] * len(can)
    assert [builds_engines(version) for version in cannot] == [False] * len(cannot)
