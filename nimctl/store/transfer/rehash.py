"""Digests of files that were fetched before anybody asked for them."""

from pathlib import Path

from nimctl.core.facts import DigestAlgorithm
from nimctl.store.transfer.digests import Digests

_CHUNK_BYTES = 2**20


def digest_of(path: Path, algorithm: DigestAlgorithm) -> str:
    """Read a whole file; its digest in lower-case hex."""
    digests = Digests({algorithm: ""}, path.stat().st_size)
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digests.update(buffer[:count])
    return digests.results()[algorithm]
