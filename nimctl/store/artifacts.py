"""What each reference was resolved to, pinned."""

import contextlib
from collections.abc import Callable, Iterator

from nimctl import documents
from nimctl.core.facts import Artifact
from nimctl.core.layout import Layout
from nimctl.core.refs import ModelRef
from nimctl.store.locks import held


class ArtifactStore:
    """Artifacts by reference: what `--offline` reads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def pinned(self, ref: ModelRef) -> Artifact | None:
        """The artifact that a reference was last fetched as."""
        return documents.read(self._layout.artifact(ref), Artifact)

    def alone(
        self, ref: ModelRef, *, on_wait: Callable[[], None]
    ) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from fetching a reference; `on_wait` is called if one does."""
        return held(self._layout.lock(f"fetch-{ref.digest}"), on_wait=on_wait)

    def pin(self, ref: ModelRef, artifact: Artifact) -> None:
        """Remember a fetched artifact."""
        documents.write(self._layout.artifact(ref), artifact)

    def unpin(self, ref: ModelRef) -> None:
        """Forget an artifact; its blobs stay until `prune` or `rm` removes them."""
        self._layout.artifact(ref).unlink(missing_ok=True)

    def all(self) -> Iterator[Artifact]:
        """Every pinned artifact, in no order."""
        for path in (self._layout.root / "artifacts").glob("*.json"):
            artifact = documents.read(path, Artifact)
            if artifact is not None:
                yield artifact
