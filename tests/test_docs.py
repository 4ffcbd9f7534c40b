"""What the documents show is what happens: their consoles are run."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpu_engine import GpuEngine
from ngc import Ngc

from nimctl.cli.commands import COMMANDS

ROOT = Path(__file__).parent.parent
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED_FILE = re.compile(r"^```\w+ (~/\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def consoles(path: Path) -> Iterator[tuple[str, str]]:
    """Each `$ command` of a document with the output that is shown below it."""
    for block in CONSOLE.findall(path.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            yield command, shown


def matches(shown: str, printed: str) -> bool:
    """Compare; `…` stands for anything, and columns may be wider or narrower."""

    def squeeze(text: str) -> str:
        return re.sub(r"[ \t]+", " ", text).strip()

    pattern = ".*".join(re.escape(part) for part in squeeze(shown).split("…"))
    return re.fullmatch(pattern, squeeze(printed), re.DOTALL) is not None


def write_named_files(document: Path, home: Path) -> None:
    """Write the files that a document shows with their paths, as its reader does."""
    for name, text in NAMED_FILE.findall(document.read_text()):
        path = home / name.removeprefix("~/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run_as_written(
    document: str,
    least: int,
    environ: dict[str, str],
    directory: Path,
    within: tuple[str, ...] = (),
) -> None:
    """Run a document's consoles in a directory, and compare what they print.

    `within` is what each command begins with.
    """
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    write_named_files(ROOT / document, Path(environ["HOME"]))
    steps = list(consoles(ROOT / document))
    assert len(steps) >= least
    try:
        for command, shown in steps:
            done = subprocess.run(
                [*within, "bash", "-c", command],
                cwd=directory,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (command, done.stdout)
            assert matches(shown, done.stdout), f"$ {command}\n{done.stdout}\nis not\n{shown}"
    finally:
        subprocess.run([sys.executable, "-m", "nimctl", "stop", "--all"], env=environ, check=True)


@pytest.mark.parametrize(
    ("document", "least"),
    [
        ("docs/tutorial/first-model.md", 5),
        ("docs/how-to/add-a-model.md", 5),
        ("docs/how-to/check-a-machine.md", 2),
        ("docs/how-to/plan-for-other-hardware.md", 8),
    ],
)
def test_a_document_runs_as_written(
    document: str, least: int, environ: dict[str, str], tmp_path: Path
) -> None:
    run_as_written(document, least, environ, tmp_path)


@pytest.mark.usefixtures("cpu_image")
@pytest.mark.parametrize(
    ("document", "least", "containers"),
    [
        ("docs/how-to/serve-in-containers.md", 7, ["boxed"]),
        ("docs/how-to/replicas.md", 7, ["twins-1", "twins-2"]),
    ],
)
def test_a_document_of_containers_runs_as_written(
    document: str, least: int, containers: list[str], environ: dict[str, str], tmp_path: Path
) -> None:
    try:
        run_as_written(document, least, environ, tmp_path)
    finally:
        # Gone already, unless something failed.
        subprocess.run(["docker", "rm", "--force", *containers], capture_output=True, check=False)


def test_the_how_to_of_nim_manifests_runs_as_written_with_a_stand_in_for_ngc(
    environ: dict[str, str], tmp_path: Path
) -> None:
    empty = (2).to_bytes(8, "little") + b"{}"  # a safetensors file without tensors
    with Ngc(tmp_path, encrypted_blobs=True) as ngc:
        model = ngc.add("nim/acme/tiny-llm", is_public=True)
        model.add("hf-1234567", {"config.json": b"{}", "model.safetensors": empty})
        model.add("a100x1", {"rank0.engine": b"engine"})
        environ |= {"NGC_CLI_API_URL": ngc.url, "SSL_CERT_FILE": ngc.ca_file}
        run_as_written("docs/how-to/nim-manifests.md", 6, environ, tmp_path)


def test_the_how_to_of_engines_runs_as_written_with_a_stand_in_for_the_builder(
    machine: dict[str, str], gpu_engine: GpuEngine, tmp_path: Path
) -> None:
    run_as_written("docs/how-to/build-an-engine.md", 16, machine, tmp_path, gpu_engine.network)


def test_the_readme_shows_what_make_demo_prints(environ: dict[str, str]) -> None:
    (command, shown), *_ = (one for one in consoles(ROOT / "README.md") if "make demo" in one[0])
    done = subprocess.run(
        ["bash", "-c", command.rpartition("&& ")[2]],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert matches(shown, done.stdout), f"{done.stdout}\nis not\n{shown}"


def test_the_readme_shows_what_list_profiles_prints(environ: dict[str, str]) -> None:
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    shown = [one for one in consoles(ROOT / "README.md") if one[0].startswith("nimctl list")]
    assert shown
    for command, expected in shown:
        done = subprocess.run(
            ["bash", "-c", command], env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert matches(expected + "…", done.stdout), done.stdout


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        (path.name, target)
        for path in documents
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_generated_reference_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference_docs.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_readme_names_every_command_and_every_document() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## What it does")[2].partition("\n\n`MODEL`")[0]
    named = set(re.findall(r"`(?:nimctl )?([a-z-]+)", table))
    assert set(COMMANDS) <= named
    documents = {path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")}
    listed = {document for document in documents if document.parts[1] != "adr"}
    assert {str(one) for one in listed if f"({one})" not in readme} == set()
