"""Blobs on their way to a registry: looked for, mounted, or streamed from the disk.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-blobs
"""

import hashlib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from nimctl.core.errors import NetworkError, VerificationError
from nimctl.core.http import HttpOptions, redirected
from nimctl.http import Response
from nimctl.registries.oci.places import Place
from nimctl.registries.oci.sender import Sender

_CHUNK_BYTES = 2**20
_DIGEST_INVALID = b"DIGEST_INVALID"

Report = Callable[[int], None]


class Blob(NamedTuple):
    """Bytes to send: those of a file, or `data`; `size` in bytes."""

    sha256: str
    size: int
    source: Path | None = None
    data: bytes = b""

    @staticmethod
    def of_bytes(data: bytes) -> "Blob":
        """A blob that is in memory."""
        return Blob(hashlib.sha256(data).hexdigest(), len(data), data=data)

    @staticmethod
    def of_file(source: Path, sha256: str, size: int) -> "Blob":
        """A blob that is on the disk.

        Raises:
            VerificationError: The file has another size.
        """
        found = source.stat().st_size
        if found != size:
            raise VerificationError(
                f"{source} has changed", cause=f"it has {found} bytes, expected are {size}"
            )
        return Blob(sha256, size, source=source)

    @property
    def digest(self) -> str:
        """`sha256:HEX`."""
        return f"sha256:{self.sha256}"


class _Body:
    """The bytes of a blob, from the start each time; reports how many have been read."""

    def __init__(self, blob: Blob, report: Report) -> None:
        self._blob = blob
        self._report = report

    def __iter__(self) -> Iterator[bytes]:
        if self._blob.source is None:
            yield self._blob.data
            return
        done, size = 0, self._blob.size
        with self._blob.source.open("rb", buffering=0) as file:
            while done < size:
                chunk = file.read(min(_CHUNK_BYTES, size - done))
                if not chunk:
                    raise VerificationError(f"{self._blob.source} became shorter as it was read")
                yield chunk
                done += len(chunk)
                self._report(done)


class BlobUploads:
    """Sends blobs to one repository; a broken upload begins anew, as many times as `http` says.

    Not from where it broke: Docker's registry, which most run, forgets a broken upload.
    """

    def __init__(
        self,
        place: Place,
        sender: Sender,
        http: HttpOptions,
        sleep: Callable[[float], None],
        mount_from: str | None,
    ) -> None:
        self._place = place
        self._sender = sender
        self._http = http
        self._sleep = sleep
        self._mount_from = mount_from

    def ensure(self, blob: Blob, report: Report) -> bool:
        """See to it that the repository has a blob; returns whether it had to be sent.

        Raises:
            AuthError: The registry wants (other) credentials.
            NetworkError: It cannot be reached or answers nonsense.
            VerificationError: The blob is not what its digest says.
        """
        there = self._sender.send("HEAD", self._place.url("blobs", blob.digest))
        if there.status == HTTPStatus.OK:
            return False
        attempt = 1
        while True:
            url = self._begin(blob)
            if url is None:
                return False
            try:
                answer = self._put(url, blob, report)
            except NetworkError:
                if attempt >= self._http.attempts:
                    raise
            else:
                self._check(blob, answer)
                return True
            self._sleep(self._http.pause_s * 2 ** (attempt - 1))
            attempt += 1

    def _begin(self, blob: Blob) -> str | None:
        """Where to send a blob; None if the registry took it from another repository."""
        url = self._place.url("blobs", "uploads/")
        if self._mount_from:
            url += "?" + urlencode({"mount": blob.digest, "from": self._mount_from}, safe=":/")
        answer = self._sender.send("POST", url)
        if answer.status == HTTPStatus.CREATED:
            return None
        location = answer.headers.get("location")
        if answer.status != HTTPStatus.ACCEPTED or not location:
            raise self._sender.failure(answer)
        upload = redirected(url, location)
        return f"{upload}{'&' if '?' in upload else '?'}digest={blob.digest}"

    def _put(self, url: str, blob: Blob, report: Report) -> Response:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(blob.size),
        }
        return self._sender.send("PUT", url, headers, _Body(blob, report), is_repeatable=False)

    def _check(self, blob: Blob, answer: Response) -> None:
        if answer.status == HTTPStatus.CREATED:
            return
        if _DIGEST_INVALID in answer.body:
            raise VerificationError(
                f"{blob.source or 'the configuration'} is not what its digest says",
                cause=f"the registry computed another one than {blob.digest}",
                hint="nimctl verify",
            )
        raise self._sender.failure(answer)
