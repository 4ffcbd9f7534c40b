"""What came out of an archive."""

from nimctl.core.value import Value


class Member(Value):
    """A file that was unpacked: its path below the directory, size in bytes, sha256 in hex."""

    path: str
    size: int
    sha256: str
