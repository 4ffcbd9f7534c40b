"""A disk whose power can be cut: ext4 in a file, shut down as xfstests does it.

What the file system has not brought to its device by then is gone, and its journal is replayed
when it is mounted again: EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, fs/ext4/ext4.h.
"""

import fcntl
import os
import struct
import subprocess
from pathlib import Path

MKFS = "/sbin/mkfs.ext4"
_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2


class Disk:
    """Mounted at `path` between `mount` and `unmount`."""

    def __init__(self, directory: Path, size: int) -> None:
        self.path = directory / "disk"
        self._image = directory / "disk.ext4"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(size)
        subprocess.run([MKFS, "-q", "-F", self._image], check=True)

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", self._image, self.path], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.path], check=True)

    def cut(self) -> None:
        """From now on nothing is read or written."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)
