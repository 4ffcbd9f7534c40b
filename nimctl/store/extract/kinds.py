"""Which files are archives, and of which kind."""

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["tar", "tar.gz", "tar.zst", "zip"]

_NAMED: dict[str, Kind] = {
    ".tar": "tar",
    ".nemo": "tar",  # a NeMo checkpoint: weights and a YAML file, packed with or without gzip
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.zst": "tar.zst",
    ".tzst": "tar.zst",
    ".zip": "zip",
}
# RFC 1952 2.3.1; RFC 8878 3.1.1, and 3.1.2 for the skippable frames that pzstd begins with;
# APPNOTE 4.3.7, and 4.3.16 for an archive of nothing.
_MAGIC: dict[bytes, Kind] = {
    b"\x1f\x8b": "tar.gz",
    b"\x28\xb5\x2f\xfd": "tar.zst",
    **{bytes([low]) + b"\x2a\x4d\x18": "tar.zst" for low in range(0x50, 0x60)},
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
}
_USTAR = (b"ustar", 257)


def kind_of(name: str, first_bytes: bytes) -> Kind | None:
    """The kind of archive that a file is; None when it is none.

    A file is an archive if it is named like one: by their bytes alone, PyTorch checkpoints and
    NumPy's `.npz` are zips as well, and what is compressed need not be a tar. Of which kind, its
    first bytes tell, 262 or more of them best, and its name where they say nothing.
    """
    named = next((kind for ending, kind in _NAMED.items() if name.lower().endswith(ending)), None)
    if named is None:
        return None
    if first_bytes.startswith(*_USTAR):
        return "tar"
    found = next((kind for magic, kind in _MAGIC.items() if first_bytes.startswith(magic)), None)
    return found or named
