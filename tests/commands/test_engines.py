"""`nimctl engines`: listed, moved between machines, removed, and never half."""

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run, words
from registry_daemon import RegistryDaemon

from nimctl.core.layout import Layout
from nimctl.core.retention import Kept, surplus
from nimctl.core.sizes import parse_size

Build = Callable[[str], str]


@pytest.fixture
def build(run: Run) -> Build:
    """Builds the demo model's engine of a precision; its key."""

    def make(precision: str) -> str:
        built = run("build-engine", "capitals-demo", "--precision", precision, "--json")
        return str(built.json["engine"]["key"])

    return make


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """Another machine, as far as the store is concerned."""
    return {"NIMCTL_HOME": str(tmp_path / "elsewhere")}


def used(layout: Layout, key: str, at: int) -> None:
    """Say when an engine was used, as a Unix time."""
    os.utime(layout.engine(key), (at, at))


def test_engines_are_listed_with_what_they_are_for(run: Run, build: Build) -> None:
    key = build("q8_0")
    shown = run("engines")
    assert key[:12] in shown.out
    assert "llama_cpp q8_0" in shown.out
    (listed,) = run("engines", "--json").json["engines"]
    assert listed["engine"]["key"] == key
    assert listed["size_bytes"] == sum(file["size"] for file in listed["engine"]["files"])
    assert listed["servers"] == []


def test_an_empty_store_says_so(run: Run) -> None:
    assert run("engines").out.startswith("no engines in ")


def test_finding_an_engine_counts_as_using_it(run: Run, build: Build, layout: Layout) -> None:
    old, new = build("f16"), build("q8_0")
    used(layout, old, 1000)
    used(layout, new, 2000)
    build("f16")
    listed = run("engines", "--json").json["engines"]
    assert [one["engine"]["key"] for one in listed] == [old, new]


def test_serving_an_engine_counts_as_using_it(run: Run, build: Build, layout: Layout) -> None:
    old, new = build("q8_0"), build("f16")
    used(layout, old, 1000)
    used(layout, new, 2000)
    argv = ("serve", "capitals-demo", "--precision", "q8_0", "-d", "-p", "auto", "-q")
    assert run(*argv).code == 0
    run("stop", "capitals-demo")
    assert [one["engine"]["key"] for one in run("engines", "--json").json["engines"]] == [old, new]


def test_an_engine_moves_in_a_tar_file(
    run: Run, build: Build, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    key = build("q8_0")
    archive = tmp_path / "demo.tar"
    exported = run("engines", "export", key[:12], archive, "--json").json
    assert exported["size_bytes"] == archive.stat().st_size
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["engine.json", "model.gguf"]
    taken = run("engines", "import", archive, "--json", env=elsewhere).json
    assert (taken["imported"], taken["engine"]["key"]) == (True, key)
    again = run("engines", "import", archive, env=elsewhere)
    assert "already here" in again.out
    found = run("build-engine", "capitals-demo", "--precision", "q8_0", "--json", env=elsewhere)
    assert found.json["built"] is False


def test_equal_engines_give_equal_archives(run: Run, build: Build, tmp_path: Path) -> None:
    key = build("q8_0")
    for name in ("a.tar", "b.tar"):
        run("engines", "export", key[:12], tmp_path / name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_an_archive_needs_a_directory_to_lie_in(run: Run, build: Build, tmp_path: Path) -> None:
    key = build("q8_0")
    result = run("engines", "export", key[:12], tmp_path / "no" / "demo.tar")
    assert result.code == 2, result
    words(result, f"there is no directory {tmp_path / 'no'}", "mkdir -p")


def test_a_directory_is_imported_by_its_reference(
    run: Run, build: Build, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    key = build("q8_0")
    run("engines", "export", key[:12], tmp_path / "demo.tar")
    with tarfile.open(tmp_path / "demo.tar") as tar:
        tar.extractall(tmp_path / "demo", filter="data")
    result = run("engines", "import", tmp_path / "demo", env=elsewhere)
    assert result.code == 2, result
    words(result, "is a directory", f"nimctl engines import file://{tmp_path / 'demo'}")
    taken = run("engines", "import", f"file://{tmp_path / 'demo'}", "--json", env=elsewhere)
    assert taken.json["engine"]["key"] == key


def test_an_engine_of_a_kind_that_is_not_known_is_imported(run: Run, tmp_path: Path) -> None:
    for name in ("engine.json", "engine.bin"):
        (tmp_path / name).write_text("{}")
    result = run("build-engine", f"file://{tmp_path}")
    assert result.code == 7, result
    words(result, f"it is an engine: nimctl engines import 'file://{tmp_path}'")


def test_a_sidecar_that_is_no_json_is_what_is_wrong_with_the_archive(
    run: Run, tmp_path: Path, layout: Layout
) -> None:
    (tmp_path / "engine.json").write_text("{")
    with tarfile.open(tmp_path / "demo.tar", "w") as tar:
        tar.add(tmp_path / "engine.json", "engine.json")
    result = run("engines", "import", tmp_path / "demo.tar")
    assert result.code == 6, result
    words(result, "this is no engine of nimctl's", "its engine.json is damaged")
    assert str(layout.root) not in result.err


def test_an_archive_is_not_written_over_a_file(run: Run, build: Build, tmp_path: Path) -> None:
    there = tmp_path / "there.tar"
    there.write_text("mine")
    result = run("engines", "export", build("q8_0")[:12], there)
    assert result.code == 2
    assert there.read_text() == "mine"


def repacked(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The same archive with some of its files changed or left out."""
    with tarfile.open(source) as before, tarfile.open(target, "w") as after:
        for member in before.getmembers():
            file = before.extractfile(member)
            assert file is not None
            data = change(member.name, file.read())
            if data is not None:
                copy = target.parent / "copy"
                copy.write_bytes(data)
                after.add(copy, member.name)
    return target


def with_gpu(name: str, data: bytes) -> bytes:
    """A sidecar that claims another GPU."""
    if name != "engine.json":
        return data
    sidecar = json.loads(data)
    sidecar["recipe"]["gpu"] = "h100_sxm"
    return json.dumps(sidecar).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda name, data: data[:-1] + b"!" if name == "model.gguf" else data, "is damaged"),
        (lambda name, data: None if name == "model.gguf" else data, "is missing"),
        (lambda name, data: None if name == "engine.json" else data, "no engine of nimctl's"),
        (with_gpu, "was altered"),
    ],
)
def test_an_archive_that_was_changed_is_refused(
    run: Run,
    build: Build,
    elsewhere: dict[str, str],
    tmp_path: Path,
    change: Callable[[str, bytes], bytes | None],
    said: str,
) -> None:
    run("engines", "export", build("q8_0")[:12], tmp_path / "good.tar")
    bad = repacked(tmp_path / "good.tar", tmp_path / "bad.tar", change)
    result = run("engines", "import", bad, env=elsewhere)
    assert result.code == 6
    words(result, said)
    engines = Path(elsewhere["NIMCTL_HOME"]) / "engines"
    assert list(engines.iterdir()) == []


@pytest.mark.parametrize(("name", "code"), [("no.tar", 3), ("text.txt", 2)])
def test_what_is_no_archive_is_refused(run: Run, tmp_path: Path, name: str, code: int) -> None:
    (tmp_path / "text.txt").write_text("no archive")
    result = run("engines", "import", tmp_path / name)
    assert result.code == code
    words(result, name)


def test_an_engine_moves_through_a_registry(
    run: Run, build: Build, registry: RegistryDaemon, elsewhere: dict[str, str]
) -> None:
    key = build("q8_0")
    target = f"oci://{registry.host}/engines/demo:q8"
    pushed = run("engines", "export", key[:12], target, "--json")
    assert pushed.json["digest"].startswith("sha256:")
    taken = run("engines", "import", target, "--json", env=elsewhere).json
    assert (taken["imported"], taken["engine"]["key"]) == (True, key)
    # Nothing of it stays beside the engine.
    blobs = Path(elsewhere["NIMCTL_HOME"]) / "blobs" / "sha256"
    assert [path for path in blobs.rglob("*") if path.is_file()] == []


def test_a_model_in_a_registry_is_no_engine(run: Run, registry: RegistryDaemon) -> None:
    run("pull", "capitals-demo")
    target = f"oci://{registry.host}/demo:1"
    run("push", "capitals-demo", target)
    result = run("engines", "import", target)
    assert result.code == 6
    words(result, "is no engine of nimctl's", f"nimctl pull '{target}'")


def test_a_removed_engine_frees_its_room(run: Run, build: Build, layout: Layout) -> None:
    key = build("q8_0")
    served = run("serve", "capitals-demo", "-d", "-p", "auto", "--json").json["server"]
    refused = run("engines", "rm", key[:12])
    assert refused.code == 2
    words(refused, "is being served by capitals-demo", "nimctl stop capitals-demo")
    assert run("engines", "--json").json["engines"][0]["servers"] == [served["name"]]
    run("stop", "capitals-demo")
    assert run("engines", "rm", key[:12]).code == 0
    # The links in the model's directory are gone too, or the blocks would stay taken.
    assert list(layout.root.rglob("model.gguf")) == []
    assert run("engines", "--json").json["engines"] == []


def test_an_engine_may_be_named_twice(run: Run, build: Build) -> None:
    key = build("q8_0")
    result = run("engines", "rm", key[:12], key, "--json")
    assert result.code == 0, result
    assert result.json["engines"] == [key]


def test_the_hint_on_a_damaged_sidecar_mends_it(run: Run, build: Build, layout: Layout) -> None:
    key = build("q8_0")
    sidecar = layout.engine(key) / "engine.json"
    sidecar.chmod(0o644)
    sidecar.write_text("{")
    refused = run("engines")
    assert refused.code == 6
    words(refused, f"hint: rm {sidecar}, then run the command again")
    sidecar.unlink()
    again = run("build-engine", "capitals-demo", "--precision", "q8_0", "--json")
    assert again.code == 0, again
    assert again.json["built"] is True
    sidecar.unlink()
    assert run("engines", "prune", "--max-size", "1TiB").code == 0
    assert not layout.engine(key).exists()


def test_a_copy_of_an_engine_by_hand_is_none(run: Run, build: Build, layout: Layout) -> None:
    key = build("q8_0")
    layout.engine(key).rename(layout.engine("mine"))
    assert run("engines").out.startswith("no engines in ")
    run("engines", "prune", "--max-size", "1TiB")
    assert layout.engine("mine").is_dir()


@pytest.mark.parametrize(("key", "code"), [("abc", 2), ("0123456789ab", 3)])
def test_a_key_that_means_no_engine_is_refused(run: Run, key: str, code: int) -> None:
    assert run("engines", "rm", key).code == code


def test_the_least_recently_used_engines_go_first(run: Run, build: Build, layout: Layout) -> None:
    old, new = build("f16"), build("q8_0")
    used(layout, old, 1000)
    used(layout, new, 2000)
    kept = run("engines", "--json").json["engines"][0]["size_bytes"]
    counted = run("engines", "prune", "--max-size", str(kept), "--dry-run", "--json").json
    assert counted["engines"] == [old]
    assert layout.engine(old).is_dir()
    assert run("engines", "prune", "--max-size", str(kept), "--json").json["engines"] == [old]
    assert not layout.engine(old).exists()
    assert layout.engine(new).is_dir()


def test_what_a_killed_build_left_goes_with_prune(run: Run, build: Build, layout: Layout) -> None:
    key = build("q8_0")
    left = layout.engine(f".{'0' * 64}.abcd1234")
    left.mkdir()
    (left / "rank0.engine").write_bytes(b"half")
    run("engines", "prune", "--max-size", "1TiB")
    assert not left.exists()
    assert layout.engine(key).is_dir()


def test_pruning_says_that_it_could_not_ask_for_containers(run: Run, build: Build) -> None:
    build("q8_0")
    prune = ("engines", "prune", "--max-size", "1TiB")
    result = run(*prune, env={"DOCKER_HOST": "unix:///nowhere.sock"})
    assert result.code == 0, result
    words(result, "containers of builds that were killed may be left; ", "/nowhere.sock")


@pytest.mark.parametrize("text", ["", "much", "-1", "5 parsecs"])
def test_what_is_no_size_is_refused(run: Run, text: str) -> None:
    assert run("engines", "prune", "--max-size", text).code == 2


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1024", 1024), ("1K", 1024), ("1.5 MiB", 1572864), ("50GB", 50 * 2**30)],
)
def test_sizes_are_in_units_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_what_is_served_is_never_surplus() -> None:
    engines = [
        Kept(key="old", size=60, used="2026-01-01", in_use=True),
        Kept(key="middle", size=30, used="2026-02-01"),
        Kept(key="new", size=30, used="2026-03-01"),
    ]
    assert surplus(engines, 120) == ()
    assert surplus(engines, 100) == ("middle",)
    assert surplus(engines, 0) == ("middle", "new")


def test_engines_without_a_build_log_say_so(run: Run, build: Build) -> None:
    result = run("engines", "log", build("q8_0")[:12])
    assert result.code == 3
    words(result, "no log of a build")


def test_a_limit_holds_after_every_build(run: Run, build: Build, layout: Layout) -> None:
    old = build("f16")
    used(layout, old, 1000)
    limit = {"NIMCTL_ENGINES_LIMIT": "1"}
    built = run("build-engine", "capitals-demo", "--precision", "q8_0", "--json", env=limit)
    assert "1 engines removed, to keep to the limit" in built.err
    kept = run("engines", "--json").json["engines"]
    assert [one["engine"]["key"] for one in kept] == [built.json["engine"]["key"]]


def test_a_limit_that_is_no_size_is_refused(run: Run) -> None:
    result = run("engines", env={"NIMCTL_ENGINES_LIMIT": "plenty"})
    assert result.code == 2
    words(result, "NIMCTL_ENGINES_LIMIT is no size")
