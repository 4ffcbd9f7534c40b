"""`nimctl doctor`: this machine, and recorded machines by way of their nvidia-smi on PATH."""

from pathlib import Path

import jsonschema
import msgspec
import pytest
import recorded
from conftest import Run, words

from nimctl.core.doctor import DoctorReport

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere.sock"}


def on_path(name: str, tmp_path: Path, environ: dict[str, str]) -> dict[str, str]:
    """An environment whose PATH begins with a recorded nvidia-smi, without container engine."""
    return {**NO_ENGINE, "PATH": f"{recorded.install(name, tmp_path / 'bin')}:{environ['PATH']}"}


def test_this_machine_is_examined_in_groups(run: Run) -> None:
    result = run("doctor")
    assert result.code == 0
    groups = [line for line in result.out.splitlines() if line and not line.startswith(" ")]
    assert [line for line in groups if ":" not in line] == [
        "GPU",
        "Memory",
        "Disk",
        "Container engine",
        "Embedded engine",
        "Registries",
        "Network",
    ]
    assert "Can serve here: llama_cpp" in result.out


def test_the_document_is_the_one_that_is_documented_and_a_host_for_plans(
    run: Run, tmp_path: Path
) -> None:
    report = run("doctor", "--json")
    jsonschema.validate(report.json, msgspec.json.schema(DoctorReport))
    assert report.json["schema_version"] == 1
    file = tmp_path / "host.json"
    file.write_text(report.out)
    listed = run("list-profiles", "capitals-demo", "--host", file, "--json").json
    assert listed["host"] == report.json["host"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dgx-h100", "8 x NVIDIA H100 80GB HBM3 (h100_sxm), 79.6 GiB each"),
        ("a100-mig", "4 x NVIDIA A100-SXM4-80GB MIG 1g.20gb (a100_sxm_80gb)"),
        ("gb10", "NVIDIA GB10 (gb10), "),
        ("rtx-4090-display", "it drives a display"),
        ("h100-and-t600", "different kinds"),
        ("driver-mismatch", "different versions"),
        ("driver-not-loaded", "is not loaded"),
        ("h100-mig-mixed", "GPU 2 (NVIDIA H100 80GB HBM3) is in MIG mode and has no slices"),
    ],
)
def test_recorded_machines_are_described_in_80_columns(
    name: str, said: str, run: Run, tmp_path: Path, environ: dict[str, str]
) -> None:
    result = run("doctor", env=on_path(name, tmp_path, environ))
    assert result.code == 0, result
    assert said in " ".join(result.out.split())
    lines = [line for line in result.out.splitlines() if environ["HOME"] not in line]
    assert max(map(len, lines)) <= 80


def test_the_fix_of_a_gpu_without_slices_names_that_gpu(
    run: Run, tmp_path: Path, environ: dict[str, str]
) -> None:
    out = run("doctor", env=on_path("h100-mig-mixed", tmp_path, environ)).out
    assert "sudo nvidia-smi mig -i 2 -cgi PROFILE -C" in " ".join(out.split())
    assert "sudo nvidia-smi -i 2 -mig 0" in " ".join(out.split())


def test_what_is_broken_comes_with_its_fix(
    run: Run, tmp_path: Path, environ: dict[str, str]
) -> None:
    out = run("doctor", env=on_path("driver-mismatch", tmp_path, environ)).out
    assert "  problem  the NVIDIA driver's module and library" in out
    assert "fix: sudo reboot" in out
    assert "Can serve here: llama_cpp" in out


def test_gpus_reach_the_listing_through_the_document(
    run: Run, tmp_path: Path, environ: dict[str, str]
) -> None:
    file = tmp_path / "dgx.json"
    file.write_text(run("doctor", "--json", env=on_path("dgx-h100", tmp_path, environ)).out)
    listed = run("list-profiles", "--host", file, "--json").json
    assert [gpu["key"] for gpu in listed["host"]["gpus"]] == ["h100_sxm"] * 8
    assert listed["host"]["driver_version"] == "535.129.03"


def test_keys_and_passwords_are_never_shown(run: Run, environ: dict[str, str]) -> None:
    docker = Path(environ["HOME"]) / ".config/nimctl/credentials.json"
    docker.parent.mkdir(parents=True)
    docker.write_text('{"hf": "hf_secret", "auths": {"registry.corp": {"auth": "c2VjcmV0"}}}')
    docker.chmod(0o600)
    env = {
        **NO_ENGINE,
        "NGC_API_KEY": "nvapi-secret",
        "HTTPS_PROXY": "http://user:secret@proxy.corp:3128",
    }
    for flags in ((), ("--json",)):
        out = run("doctor", *flags, env=env).out
        assert "secret" not in out
        assert "c2VjcmV0" not in out
        assert "http://proxy.corp:3128" in out
        assert "registry.corp" in out
    assert "ngc: a key is there" in run("doctor", env=env).out


def test_a_machine_on_which_nothing_can_serve_ends_with_7_and_says_why(run: Run) -> None:
    result = run("doctor", env={**NO_ENGINE, "NIMCTL_HOME": "/proc/nimctl"})
    assert result.code == 7
    words(result, "no backend can serve", "no room for models", "no NVIDIA GPU")
    assert "Can serve here: nothing" in result.out
