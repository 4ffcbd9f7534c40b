"""The Hub without a network: what its own tools have cached."""

from nimctl.core.errors import OfflineError
from nimctl.core.facts import Artifact, File
from nimctl.core.names import enumerated, safe_paths
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef
from nimctl.core.selection import selected
from nimctl.registries.huggingface.cache import Entry, HubCache, hub_file

_DEFAULT_BRANCH = "main"


class OfflineHub:
    """Resolves references as the Hub at `endpoint` did when the cache was filled.

    `reason` says why there is no network.
    """

    def __init__(self, endpoint: str, cache: HubCache, reason: str) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._cache = cache
        self._reason = reason

    def resolve(self, ref: ModelRef) -> Artifact:
        """Pin a revision to the commit that it last was, and list its files.

        Raises:
            OfflineError: The cache does not know the repository or the revision, or has no list of
                its files, and the reference says by no globs which are wanted.
            NotFoundError: No file is selected.
            VerificationError: A file's name is unsafe, or a digest malformed.
        """
        commit = self._cache.commit(ref.path, ref.revision or _DEFAULT_BRANCH)
        if not commit:
            raise OfflineError(
                f"{ref} is not in the store",
                cause=f"{self._reason}, and it is not in {self._cache.directory} either",
                hint=f"nimctl pull '{ref}' online",
            )
        chosen = selected(ref, self._entries(ref, commit))
        safe_paths(entry.path for entry in chosen)
        files = tuple(hub_file(self._endpoint, ref.path, commit, entry) for entry in chosen)
        return Artifact(reference=str(ref), revision=commit, files=files)

    def _entries(self, ref: ModelRef, commit: str) -> list[Entry]:
        listed = self._cache.listed(ref.path, commit)
        if listed is not None:
            return listed
        present = self._cache.present(ref.path, commit)
        if not ref.include:
            there = enumerated([entry.path for entry in present])
            raise OfflineError(
                f"nothing tells whether {self._cache.directory} has all of {ref}",
                cause=f"{self._reason}, and the cache has no list of its files; there is {there}",
                hint=f"nimctl pull '{ref}' --include '*' takes what is there",
            )
        return present

    def locate(self, file: File) -> Location:
        """Say where a file is in the cache.

        Raises:
            OfflineError: It is not there.
        """
        cached = self._cache.find(file)
        if cached is None:
            raise OfflineError(
                f"{file.path} is not in the store",
                cause=f"{self._reason}, and it is not in {self._cache.directory} either",
                hint="run it again online, or leave it out with --exclude",
            )
        # Never the Hub's own URL, also if what is cached turns out to be damaged.
        return Location(url=cached.as_uri(), cached=cached.as_uri())
