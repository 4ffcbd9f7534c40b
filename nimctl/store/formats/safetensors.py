"""Safetensors files: only the header is read."""

import io

from nimctl.core.safetensors import LENGTH_BYTES, header_bytes, malformed, parse_header


def check_safetensors(source: io.BufferedReader, name: str) -> None:
    """Check that a file keeps to its format.

    Raises:
        VerificationError: It does not; names the file and, where one is to blame, the tensor.
    """
    size = source.seek(0, io.SEEK_END)
    source.seek(0)
    first = source.read(LENGTH_BYTES)
    if len(first) < LENGTH_BYTES:
        raise malformed(name, f"it has {size} bytes, too few for a header")
    length = header_bytes(name, first, size)
    parse_header(name, source.read(length), size - LENGTH_BYTES - length)
