"""Files that the kernel writes, and room on disks."""

import os
from pathlib import Path


def text(path: Path) -> str:
    """What a file of /proc or /sys says; nothing where it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def disk_free(directory: Path) -> int:
    """Free bytes where a directory is, or will be."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize
