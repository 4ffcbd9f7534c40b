"""Machines as they were recorded: NVML and nvidia-smi that answer from tests/data/hosts.

A recording is a directory: `host.json` tells where it is from, what NVML answers and which files
of /proc, /sys and /dev matter; beside it lies what nvidia-smi prints, named after its arguments.
"""

import json
import sys
from pathlib import Path
from typing import Any

from nimctl.host.probe import Sources

DIRECTORY = Path(__file__).parent.parent / "data" / "hosts"
REPLAY = Path(__file__).parent / "nvml_replay.py"
# So that a test of a driver that hangs is over soon; a recorded one answers at once.
SHORT_S = 0.3
PATIENT_S = 60.0


def names() -> list[str]:
    """All recordings."""
    return sorted(path.parent.name for path in DIRECTORY.glob("*/host.json"))


def load(name: str) -> dict[str, Any]:
    """A recording's host.json."""
    return _read(DIRECTORY / name)


def sources(name: str, directory: Path) -> Sources:
    """The recorded machine, laid out in a directory: its files, its nvidia-smi, its NVML."""
    return sources_of(DIRECTORY / name, directory)


def sources_of(recording: Path, directory: Path) -> Sources:
    """The same for a recording that lies anywhere."""
    document = _read(recording)
    root = directory / "root"
    root.mkdir(parents=True)
    for path, content in document["files"].items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    hangs = "hangs" in (document["nvml"], document["nvidia_smi"])
    return Sources(
        root=str(root),
        search_path=str(install_of(recording, directory / "bin")),
        nvml=_nvml_program(recording, document["nvml"]),
        patience_s=SHORT_S if hangs else PATIENT_S,
    )


def install(name: str, directory: Path) -> Path:
    """Put the recorded nvidia-smi into a directory, as a program; nothing if there is none."""
    return install_of(DIRECTORY / name, directory)


def _read(recording: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((recording / "host.json").read_text())
    return document


def install_of(recording: Path, directory: Path) -> Path:
    """The same for a recording that lies anywhere."""
    answers = _read(recording)["nvidia_smi"]
    directory.mkdir(parents=True, exist_ok=True)
    if answers is not None:
        program = directory / "nvidia-smi"
        program.write_text(_script(recording, answers))
        program.chmod(0o755)
    return directory


def _script(directory: Path, answers: Any) -> str:
    if answers == "hangs":
        return "#!/bin/sh\nsleep 600\n"
    cases = []
    for arguments, answer in answers.items():
        if isinstance(answer, str):
            cases.append(f"'{arguments}') exec cat '{directory / answer}' ;;")
        else:
            cases.append(f"{arguments}) echo '{answer['says']}'; exit {answer['code']} ;;")
    body = "\n".join(cases)
    return f'#!/bin/sh\ncase "$*" in\n{body}\n*) echo "invalid: $*"; exit 2 ;;\nesac\n'


def _nvml_program(recording: Path, answers: Any) -> tuple[str, ...]:
    if answers == "hangs":
        return ("sleep", "600")
    if answers == "crashes":
        return ("sh", "-c", "kill -SEGV $$")
    return (sys.executable, str(REPLAY), str(recording / "host.json"))
