"""Reading a small file without storing it."""

import time

from nimctl.core.errors import VerificationError
from nimctl.core.facts import File
from nimctl.store.blobs import BlobStore
from nimctl.store.transfer.answers import Ask, Body
from nimctl.store.transfer.client import Client, Network
from nimctl.store.transfer.connection import Sockets
from nimctl.store.transfer.digests import Digests
from nimctl.store.transfer.failures import TemporaryError, wrong_digest, wrong_size
from nimctl.store.transfer.patience import Patience
from nimctl.store.transfer.route import Locate, Route


def peek(file: File, locate: Locate, blobs: BlobStore, network: Network, limit_bytes: int) -> bytes:
    """Read a file of at most `limit_bytes` bytes; see `Transfer.peek`."""
    if file.sha256 and blobs.has(file.sha256):
        with blobs.path(file.sha256).open("rb") as blob:
            return _checked_length(file, blob.read(limit_bytes + 1), limit_bytes)
    route = Route(file, locate)
    with Client(network, Sockets()) as client:
        data = _insist(file, client, route, network, limit_bytes)
        wrong = _wrong(file, data)
        if wrong and route.distrust_cache():
            data = _insist(file, client, route, network, limit_bytes)
            wrong = _wrong(file, data)
    if wrong:
        raise wrong
    return data


def _insist(file: File, client: Client, route: Route, network: Network, limit_bytes: int) -> bytes:
    patience = Patience(network.options, time.sleep)
    while True:
        try:
            return _checked_length(file, _read(client, route, limit_bytes + 1), limit_bytes)
        except TemporaryError as error:
            patience.bear(error, path=file.path, url=route.shown, position=0)


def _wrong(file: File, data: bytes) -> VerificationError | None:
    if file.size not in (None, len(data)):
        return wrong_size(file.path, expected=file.size or 0, actual=len(data))
    digests = Digests(file.digests, len(data))
    digests.update(memoryview(data))
    return wrong_digest(file, digests.results())


def _read(client: Client, route: Route, most_bytes: int) -> bytes:
    """Read the whole content, or `most_bytes` of it."""
    content, answer = route.get(client, Ask())
    data = bytearray()
    buffer = memoryview(bytearray(64 * 1024))
    with content:
        if not isinstance(answer, Body):
            raise TemporaryError(answer.cause)
        while len(data) < most_bytes:
            count = content.read_into(buffer[: most_bytes - len(data)])
            if not count:
                break
            data += buffer[:count]
    return bytes(data)


def _checked_length(file: File, data: bytes, limit_bytes: int) -> bytes:
    if len(data) > limit_bytes:
        raise VerificationError(
            f"{file.path} is longer than the {limit_bytes} bytes that are read of such a file"
        )
    return data
