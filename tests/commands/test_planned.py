"""Planning for other hardware: `--gpu`, and the file that `doctor --json` gives."""

from pathlib import Path

import msgspec
import pytest
from conftest import Run, words

from nimctl.core.planned import planned_host


def test_profiles_are_listed_for_gpus_that_are_not_here(run: Run) -> None:
    report = run("list-profiles", "capitals-demo", "--gpu", "h100_sxm:8", "--json").json
    assert [gpu["key"] for gpu in report["host"]["gpus"]] == ["h100_sxm"] * 8
    assert report["host"]["planned"] is True
    assert report["selected"]


def test_a_mixed_machine_is_planned_by_repeating(run: Run) -> None:
    report = run("list-profiles", "--gpu", "rtx_4090", "--gpu", "rtx_3060", "--json").json
    assert [gpu["key"] for gpu in report["host"]["gpus"]] == ["rtx_4090", "rtx_3060"]


def test_the_table_names_the_planned_gpus(run: Run) -> None:
    assert "2 L40S, " in run("list-profiles", "capitals-demo", "--gpu", "NVIDIA L40S:2").out


def test_a_gpu_that_is_not_known_is_answered_by_near_names(run: Run) -> None:
    result = run("list-profiles", "--gpu", "h100")
    assert result.code == 2
    words(result, "nimctl knows no GPU 'h100'", "did you mean h100_sxm")


def test_a_listing_is_the_same_from_a_file_or_stdin_as_from_gpus(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "host.json"
    file.write_bytes(msgspec.json.encode(planned_host(["l4:2"])))
    by_file = run("list-profiles", "capitals-demo", "--host", file, "--json")
    assert by_file.out == run("list-profiles", "capitals-demo", "--gpu", "l4:2", "--json").out


def test_a_listing_is_a_description_of_its_host_too(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "listing.json"
    listing = run("list-profiles", "capitals-demo", "--gpu", "b200:8", "--json")
    file.write_text(listing.out)
    assert run("list-profiles", "capitals-demo", "--host", file, "--json").out == listing.out


@pytest.mark.parametrize(
    ("content", "said"),
    [("not JSON", "malformed"), ('{"host": {"gpus": 3}}', "$.host.gpus"), ("", "truncated")],
)
def test_a_file_that_describes_no_host_is_refused(
    content: str, said: str, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "host.json"
    file.write_text(content)
    result = run("list-profiles", "--host", file)
    assert result.code == 2
    words(result, "no description of a host", said, "nimctl doctor --json")


def test_a_missing_file_and_two_ways_at_once_are_refused(run: Run, tmp_path: Path) -> None:
    missing = run("list-profiles", "--host", tmp_path / "nowhere.json")
    assert missing.code == 2
    file = tmp_path / "host.json"
    file.write_bytes(msgspec.json.encode(planned_host(["l4"])))
    both = run("list-profiles", "--host", file, "--gpu", "l4")
    assert both.code == 2
    words(both, "both say what to plan for")


def test_plans_for_other_hardware_are_printed_only(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "host.json"
    file.write_bytes(msgspec.json.encode(planned_host(["l4"])))
    for argv in (
        ("serve", "capitals-demo", "--gpu", "l4"),
        ("serve", "capitals-demo", "--host-file", file),
        ("build-engine", "capitals-demo", "--host", file),
    ):
        result = run(*argv)
        assert result.code == 2, argv
        words(result, "can only be printed", "--dry-run")
    assert run("serve", "capitals-demo", "--gpu", "l4", "--port", "auto", "--dry-run").code == 0
    assert run("build-engine", "capitals-demo", "--host", file, "--dry-run").code == 0


def test_serve_takes_what_it_can_build_without_texts_to_quantise_with(run: Run) -> None:
    asked = ("package://capitals-demo", "--gpu", "h100_sxm")
    plan = run("serve", *asked, "--port", "auto", "--dry-run")
    assert plan.code == 0
    assert "-bf16-" in plan.out.splitlines()[1]
    assert "# for …-planned-N put a GPU's UUID" in plan.out
    refused = run("serve", *asked, "--port", "auto", "--dry-run", "--precision", "fp8")
    words(refused, "needs calibration data", "nimctl build-engine --calib FILE")
    told = run("list-profiles", *asked).out
    assert "build-engine --calib FILE" in told
