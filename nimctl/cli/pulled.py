"""What was pulled, file by file."""

from typing import TYPE_CHECKING

from nimctl.core.reports import PulledFile

if TYPE_CHECKING:
    from nimctl.core.layout import Layout
    from nimctl.core.reports import Brought


def pulled_files(brought: "Brought", layout: "Layout") -> tuple[PulledFile, ...]:
    """The files of an artifact, and where they lie in the store."""
    moved = {one.path: one for one in brought.fetched}
    return tuple(
        PulledFile(
            name=file.path,
            path=str(layout.blob(file.sha256 or "")),
            size=file.size or 0,
            sha256=file.sha256 or "",
            bytes_fetched=moved[file.path].bytes_fetched if file.path in moved else 0,
            bytes_reused=moved[file.path].bytes_reused if file.path in moved else 0,
        )
        for file in brought.artifact.files
    )
