"""Compressed streams to plain ones, in bounded pieces."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from nimctl.core.errors import UsageError
from nimctl.store.extract.deflate import GZIP, PIECE_BYTES, Inflater
from nimctl.store.extract.kinds import Kind
from nimctl.store.extract.refusals import malformed

if TYPE_CHECKING:
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdDecompressor
    else:
        from backports.zstd import ZstdDecompressor


class Decoder(Protocol):
    """Bytes as they arrive to the bytes that they stand for."""

    def decode(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Give what the next bytes stand for.

        The pieces are nobody else's: they do not change when the memory behind `data` does.

        Raises:
            VerificationError: They are malformed.
        """
        ...

    def finish(self) -> None:
        """Say that nothing more will arrive.

        Raises:
            VerificationError: The stream is cut off.
        """
        ...


def decoder(kind: Kind) -> Decoder:
    """Make the decoder of a kind of archive.

    Raises:
        UsageError: A package that it needs is not installed.
    """
    match kind:
        case "tar.gz":
            return Gzip()
        case "tar.zst":
            return Zstandard()
        case "tar" | "zip":
            return Identity()


class Identity:
    """No compression; for zip, whose entries are compressed one by one."""

    def decode(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Give the bytes themselves; a copy unless they cannot change."""
        yield bytes(data)

    def finish(self) -> None:
        """There is nothing to finish."""


class Gzip:
    """Gzip members one after another (RFC 1952); zeros between and behind them are padding."""

    def __init__(self) -> None:
        self._member: Inflater | None = None
        self._is_empty = True

    def decode(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Give what the next bytes inflate to."""
        for part in _parts(data):
            yield from self._inflated(part)

    def finish(self) -> None:
        """Refuse a stream that is cut off."""
        if self._member or self._is_empty:
            raise malformed("its gzip stream ends too early")

    def _inflated(self, data: memoryview) -> Iterator[bytes]:
        while data:
            if self._member is None:
                data = data if self._is_empty else memoryview(bytes(data).lstrip(b"\0"))
                if not data:
                    return
                self._member = Inflater(GZIP)
                self._is_empty = False
            yield from self._member.pieces(data)
            if not self._member.is_over:
                return
            data = memoryview(self._member.behind)
            self._member = None


class Zstandard:
    """Zstandard frames one after another (RFC 8878); windows of up to 128 MiB, as `zstd -d`."""

    def __init__(self) -> None:
        self._library = _zstd()
        self._frame: ZstdDecompressor | None = None
        self._is_empty = True

    def decode(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Give what the next bytes decompress to."""
        for part in _parts(data):
            rest: bytes | memoryview = part
            while rest:
                if self._frame is None:
                    self._frame = self._library.ZstdDecompressor()
                    self._is_empty = False
                yield from self._pieces(self._frame, rest)
                if not self._frame.eof:
                    break
                rest = self._frame.unused_data
                self._frame = None

    def finish(self) -> None:
        """Refuse a stream that is cut off."""
        if self._frame or self._is_empty:
            raise malformed("its zstd stream ends too early")

    def _pieces(self, frame: "ZstdDecompressor", data: bytes | memoryview) -> Iterator[bytes]:
        while True:
            try:
                piece = frame.decompress(data, max_length=PIECE_BYTES)
            except self._library.ZstdError as error:
                raise malformed(f"zstd: {error}") from error
            if piece:
                yield piece
            if frame.eof or frame.needs_input:
                return
            data = b""


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415 - few archives need it
        else:
            from backports import zstd  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "this archive is compressed with zstd, which this Python cannot read",
            cause=str(error),
            hint=f"{sys.executable} -m pip install backports.zstd",
        ) from error
    return zstd


def _parts(data: bytes | memoryview) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]
