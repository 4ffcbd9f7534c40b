"""Images that hold nothing but files: they cannot be started."""

import io
import subprocess
import tarfile
from collections.abc import Mapping


def make_file_image(reference: str, files: Mapping[str, bytes], labels: Mapping[str, str]) -> None:
    """Import an image with these files, by absolute path."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    argv = ["docker", "import"]
    for key, value in labels.items():
        argv += ["--change", f'LABEL {key}="{value}"']
    subprocess.run(
        [*argv, "-", reference], input=buffer.getvalue(), check=True, capture_output=True
    )
