"""Fetching: many files over a few connections into the blob store, each byte verified."""

from collections.abc import Collection, Mapping, Sequence

from nimctl.core.events import Emit
from nimctl.core.facts import File
from nimctl.core.ports import Fetched
from nimctl.store.blobs import BlobStore
from nimctl.store.transfer.client import Network
from nimctl.store.transfer.download import Download
from nimctl.store.transfer.follower import MakeFollower
from nimctl.store.transfer.mending import damaged_pieces, reopen
from nimctl.store.transfer.options import TransferOptions
from nimctl.store.transfer.part import Part, part_path, remove_leftovers
from nimctl.store.transfer.peek import peek
from nimctl.store.transfer.ranges import Piece
from nimctl.store.transfer.receipts import Receipts
from nimctl.store.transfer.route import Locate, Route
from nimctl.store.transfer.run import run
from nimctl.store.transfer.state import transfer_id


class Transfer:
    """Brings files into the blob store."""

    def __init__(self, blobs: BlobStore, options: TransferOptions) -> None:
        self._blobs = blobs
        self._options = options
        self._network = Network(options)

    def fetch(
        self,
        files: Sequence[File],
        locate: Locate,
        emit: Emit,
        follow: Mapping[str, MakeFollower] | None = None,
        *,
        name: str = "files",
    ) -> tuple[Fetched, ...]:
        """Fetch what the store does not have; the result is in the order of `files`.

        `locate` is called from several threads, `emit` from the calling one only. What is there of
        an unfinished file stays for the next call, whatever ended this one.

        `follow` has the paths of files of which something else is to be made; they are not kept
        themselves. What a call by the same `name` could not do without, if its caller is killed
        before it has noted down the result, stays until `forget`.

        Raises:
            NetworkError: A server cannot be reached, fails for too long or answers nonsense.
            AuthError: A server refuses access.
            NotFoundError: A file is not there.
            VerificationError: A file is not what the registry promised.
            DiskFullError: There is no room.
        """
        follow = follow or {}
        ids = [transfer_id(file, is_followed=file.path in follow) for file in files]
        receipts = self._receipts(name)
        known = receipts.read()
        downloads = [
            Download(
                group,
                Route(group[0], locate),
                self._options.range_bytes,
                follow.get(group[0].path),
                id_=id_,
                receipt=known.get(id_),
            )
            for id_, group in _grouped(files, ids).items()
        ]
        results = run(downloads, self._blobs, self._network, receipts, emit)
        return tuple(_fetched(file, *results[id_]) for file, id_ in zip(files, ids, strict=True))

    def forget(
        self, files: Sequence[File], followed: Collection[str] = (), *, name: str = "files"
    ) -> None:
        """Remove what stayed of a fetch whose result is noted down; `followed` has paths."""
        self._receipts(name).remove()
        directory = self._blobs.layout.partial("_").parent
        there = {path.stem for path in directory.iterdir()} if directory.exists() else ()
        for file in files if there else ():
            is_followed = file.path in followed
            id_ = transfer_id(file, is_followed=is_followed)
            path = part_path(self._blobs.layout, id_)
            if id_ in there and is_followed and (part := Part.open(path)):
                part.discard()
            elif id_ in there:
                remove_leftovers(path)

    def _receipts(self, name: str) -> Receipts:
        return Receipts(self._blobs.layout.partial(name).with_suffix(".receipts"))

    def damaged_pieces(self, sha256: str) -> tuple[Piece, ...]:
        """Which pieces of a damaged blob are; none where that is not known."""
        return damaged_pieces(self._blobs, sha256)

    def reopen(self, sha256: str) -> bool:
        """Have the next fetch bring only what is damaged of a blob; returns whether it will.

        Raises:
            FileNotFoundError: There is no such blob.
            DiskFullError: There is no room.
        """
        return reopen(self._blobs, sha256)

    def peek(self, file: File, locate: Locate, *, limit_bytes: int = 2**20) -> bytes:
        """Read a small file without storing it; verified if it has digests.

        Raises:
            NimctlError: As for `fetch`; VerificationError also if it is longer than `limit_bytes`.
        """
        return peek(file, locate, self._blobs, self._network, limit_bytes)


def _grouped(files: Sequence[File], ids: Sequence[str]) -> Mapping[str, Sequence[File]]:
    """Files with the same content are one download."""
    groups: dict[str, list[File]] = {}
    for file, id_ in zip(files, ids, strict=True):
        groups.setdefault(id_, []).append(file)
    return groups


def _fetched(file: File, download: Download, sha256: str) -> Fetched:
    is_first = file is download.file
    return Fetched(
        path=file.path,
        sha256=sha256,
        size=download.result_bytes,
        bytes_fetched=download.fetched_bytes if is_first else 0,
        bytes_reused=download.kept_bytes if is_first else download.result_bytes,
        etag=download.identity.etag,
    )
