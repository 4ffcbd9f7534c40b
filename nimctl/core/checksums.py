"""Lists of digests as `sha256sum` and `b3sum` write them: a digest, two blanks, a path."""

import re

_LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(.+)")


def read_checksums(body: bytes) -> dict[str, str] | None:
    """Path to digest in hex; None if it is no such list.

    A path that has to be escaped, for a line break or a backslash in it, makes it none.
    """
    try:
        lines = body.decode().rstrip("\n").split("\n")
    except UnicodeDecodeError:
        return None
    found = [_LINE.fullmatch(line) for line in lines]
    return {one[2]: one[1] for one in found if one} if all(found) else None
