"""Which format a file has, by its name and its first bytes."""

from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from nimctl.store.formats import arrays
from nimctl.store.formats.pickles import has_protocol
from nimctl.store.formats.tars import may_be_tar

Kind: TypeAlias = Literal["safetensors", "zip", "tar", "tar.gz", "array", "pickle"]

HEAD_BYTES = 512
_ZIP_MAGIC = b"PK\x03\x04"
_GZIP_MAGIC = b"\x1f\x8b"
_NEMO = ".nemo"
# Names that programs give to pickles, and to archives and arrays that hold some.
_SUFFIXES = frozenset(
    (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".nemo", ".npy", ".npz", ".distcp")
)
# Nothing else is called so.
_PICKLE_SUFFIXES = frozenset((".pkl", ".pickle"))
# What torch before 0.1.10 called the pickle in its tar archives, and torch now that of its
# distributed checkpoints.
_PICKLE_NAMES = frozenset(("pickle", ".metadata"))


def is_expected(path: PurePosixPath) -> bool:
    """Whether programs load files of that name by unpickling."""
    return path.suffix.lower() in _SUFFIXES or path.name in _PICKLE_NAMES


def must_be_pickle(path: PurePosixPath, head: bytes) -> bool:
    """Whether a file that begins so is damaged if it cannot be read as a pickle.

    Raw numbers may begin like a pickle, so the name must say so, too.
    """
    return path.suffix.lower() in _PICKLE_SUFFIXES or (is_expected(path) and has_protocol(head))


def kind_of(path: PurePosixPath, head: bytes) -> Kind | None:
    """The format of a file that begins so; None if loading it runs nothing.

    A file that is not called like a pickle may still be one, if it begins as one.
    """
    suffix = path.suffix.lower()
    kind: Kind | None = "pickle" if is_expected(path) or has_protocol(head) else None
    if suffix == ".safetensors":
        kind = "safetensors"
    elif head.startswith(_ZIP_MAGIC):
        kind = "zip"
    elif suffix == _NEMO:
        kind = "tar.gz" if head.startswith(_GZIP_MAGIC) else "tar"
    elif head.startswith(arrays.MAGIC):
        kind = "array"
    elif is_expected(path) and may_be_tar(head):
        kind = "tar"
    return kind
