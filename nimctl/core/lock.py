"""`nimctl.lock`: what a pull has to bring, file by file."""

from typing import Self

import msgspec

from nimctl.core.errors import NotFoundError
from nimctl.core.facts import Artifact
from nimctl.core.refs import ModelRef
from nimctl.core.value import Value


class Lock(Value):
    """Pinned artifacts, sorted by reference, so that equal locks are equal files."""

    schema_version: int = 1
    artifacts: tuple[Artifact, ...] = ()

    def find(self, ref: ModelRef) -> Artifact:
        """The artifact that a reference is locked to.

        Raises:
            NotFoundError: The lock does not know the reference.
        """
        for artifact in self.artifacts:
            if artifact.reference == str(ref):
                return artifact
        raise NotFoundError(f"{ref} is not in the lock file", hint=f"nimctl pull '{ref}' --lock")

    def holding(self, artifact: Artifact) -> Self:
        """The lock with one artifact added or replaced."""
        others = [one for one in self.artifacts if one.reference != artifact.reference]
        everything = sorted([*others, artifact], key=lambda one: one.reference)
        return msgspec.structs.replace(self, artifacts=tuple(everything))
