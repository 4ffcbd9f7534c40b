"""The saved state of an unfinished transfer, and what a transfer is called. Pure."""

import hashlib

import msgspec

from nimctl.core.facts import File
from nimctl.core.value import Value, canonical_json
from nimctl.store.transfer.ranges import Piece, is_consistent


class State(Value):
    """What is there of a file: pieces with checksums, of content with this size and validator."""

    version: int = 1
    size: int | None = None
    validator: str | None = None
    pieces: tuple[Piece, ...] = ()


def encode(state: State) -> bytes:
    """The state as it is saved."""
    return msgspec.json.encode(state)


def decode(data: bytes) -> State | None:
    """Read a saved state; None when it is damaged, or of another version of nimctl."""
    try:
        state = msgspec.json.decode(data, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if state.version != 1 or not is_consistent(state.size, state.pieces):
        return None
    return state


def can_go_on(file: File, state: State) -> bool:
    """Whether the server or a digest will tell if the content has changed since."""
    same_size = file.size is None or state.size == file.size
    return same_size and bool(file.digests or state.validator)


def may_be_complete(file: File, part_bytes: int) -> bool:
    """Whether a part without a state may have been complete when its process was killed."""
    return bool(file.digests) and 0 < part_bytes == file.size


# What is followed is kept apart: it never becomes a blob itself.
FOLLOWED = "-followed"


def needs_receipt(file: File) -> bool:
    """Whether only a note can tell that the store has this file."""
    return file.sha256 is None and bool(file.digests or file.etag)


def transfer_id(file: File, *, is_followed: bool = False) -> str:
    """The name of a transfer: the sha256 of its result, or else made of what is known beforehand.

    Mirrors and changing URLs share what was begun if the content is known to be the same.
    """
    return _content_id(file) + (FOLLOWED if is_followed else "")


def _content_id(file: File) -> str:
    if file.sha256:
        return file.sha256
    blake3 = file.digests.get("blake3")
    source = (
        ["blake3", blake3]
        if blake3
        else [file.url, file.size, file.etag, file.digests.get("git-sha1")]
    )
    return hashlib.sha256(canonical_json(source)).hexdigest()
