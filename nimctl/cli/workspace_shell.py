"""A NIM's workspace in the script of a dry run: files lie where they are wanted from the start."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from nimctl.core.layout import Layout
from nimctl.core.plan import Fetch, FillCache, FillStore, Plan


def directories(plan: Plan) -> dict[str, str]:
    """Where the files of each reference go: into the cache, or aside until all are there."""
    found: dict[str, str] = {}
    for step in plan.steps:
        match step:
            case FillCache():
                for model in step.models:
                    path = Path(step.directory, model.path, "snapshots", model.snapshot)
                    found.setdefault(model.reference, str(path))
            case FillStore():
                found = {**_aside(step), **found}
            case _:
                pass
    return found


def held(step: Fetch, directory: str, layout: Layout) -> Iterator[str]:
    """Lines for the files that the store has already."""
    for file in step.artifact.files:
        if file not in step.missing and file.sha256:
            source = str(layout.blob(file.sha256))
            yield _command("install", "-D", "-m", "644", source, str(Path(directory, file.path)))


def filling(step: FillCache | FillStore, rooms: dict[str, str]) -> Iterator[str]:
    """Lines that lay out what was fetched into these directories."""
    if isinstance(step, FillCache):
        yield from _cache_lines(step)
    else:
        yield from _store_lines(step, rooms)


def _cache_lines(step: FillCache) -> Iterator[str]:
    """Lines that say which snapshots there are."""
    for model in step.models:
        path = Path(step.directory, model.path, "refs", model.revision)
        yield _command("mkdir", "-p", str(path.parent))
        yield f"{_command('printf', '%s', model.snapshot)} > {shlex.quote(str(path))}"


def _store_lines(step: FillStore, rooms: dict[str, str]) -> Iterator[str]:
    """Lines that bring files from where they were fetched to where they belong."""
    for file in step.files:
        source = str(Path(rooms[file.reference], file.file))
        yield _command("install", "-D", "-m", "644", source, str(Path(step.directory, file.path)))
    aside = [path for path in _aside(step).values() if path in rooms.values()]
    if aside:
        yield _command("rm", "-r", str(Path(aside[0]).parent))


def _aside(step: FillStore) -> dict[str, str]:
    references = dict.fromkeys(file.reference for file in step.files)
    return {
        reference: f"{step.directory}.fetched/{number}"
        for number, reference in enumerate(references)
    }


def _command(*words: str) -> str:
    return shlex.join(words)
