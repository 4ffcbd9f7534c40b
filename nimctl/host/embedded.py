"""What the embedded engine needs from the machine."""

import ctypes
import importlib.util
import platform
from pathlib import Path

from nimctl.core.machine import EmbeddedRuntime

_LIBRARY_DIRECTORIES = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib")


def observe() -> EmbeddedRuntime:
    """Look for xllamacpp and the OpenMP runtime."""
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        return EmbeddedRuntime(libgomp=_has_libgomp())
    # importlib.metadata would tell the same and costs 30 ms to import.
    infos = [path.stem for path in Path(spec.origin).parent.parent.glob("xllamacpp-*.dist-info")]
    version = infos[0].partition("-")[2] if infos else "unknown"
    return EmbeddedRuntime(version=version, libgomp=_has_libgomp())


def _has_libgomp() -> bool:
    if platform.system() != "Linux":
        return True  # the wheels for other systems carry it
    # Looking costs microseconds where loading costs milliseconds; the loader has the last word.
    multiarch = f"{platform.machine()}-linux-gnu"
    for directory in _LIBRARY_DIRECTORIES:
        for place in (Path(directory), Path(directory) / multiarch):
            if (place / "libgomp.so.1").exists():
                return True
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return False
    return True
