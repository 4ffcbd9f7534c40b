"""What NGC's keys and version names tell."""

import pytest

from nimctl.core.ngc import Build, build_of, credential


@pytest.mark.parametrize(
    ("version", "build"),
    [
        (
            "LLAMA-2-7B-4K-FP16-1-A100.24.01",
            Build(gpu="A100", gpu_count=1, precision="fp16"),
        ),
        (
            "LLAMA-2-70B-CHAT-4K-FP16-4-H100.24.02",
            Build(gpu="H100", gpu_count=4, precision="fp16"),
        ),
        (
            "0.11.1+ba20956e-l40sx1-bf16-throughput.1.1.0.17088220",
            Build(gpu="L40S", gpu_count=1, precision="bf16", profile="throughput"),
        ),
        (
            "0.11.1+ba20956e-h100x8-fp8-latency.1.1.0",
            Build(gpu="H100", gpu_count=8, precision="fp8", profile="latency"),
        ),
        (
            "a100x1-throughput-precision.bf16-udrspesh5q",
            Build(gpu="A100", gpu_count=1, precision="bf16", profile="throughput"),
        ),
        ("hf-8c22764-b", Build()),
        ("1.0.0", Build()),
        ("deployable_quantized_v2.6.1", Build()),
        ("", Build()),
    ],
)
def test_a_versions_name_tells_what_it_was_built_for(version: str, build: Build) -> None:
    assert build_of(version) == build


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (None, "guest"),
        ("  ", "guest"),
        ("no-apikey", "guest"),
        ("bGVnYWN5", "legacy"),
        ("nvapi-secret", "bearer"),
        ("eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "bearer"),
    ],
)
def test_a_key_tells_how_it_is_used(key: str | None, kind: str) -> None:
    assert credential(key).kind == kind


def test_a_secret_does_not_show() -> None:
    assert "secret" not in repr(credential(" nvapi-secret\n"))
    assert credential(" nvapi-secret\n").secret == "nvapi-secret"
    assert credential(None, guest_token="guest-1").secret == "guest-1"  # noqa: S106 - no password
