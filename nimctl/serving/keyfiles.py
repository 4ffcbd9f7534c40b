"""Files that hold a secret: nobody but their owner reads them."""

import os
import secrets
from pathlib import Path

from nimctl.core.servers import Server


def generate(path: Path) -> None:
    """Make a file with a new API key; there must be none."""
    write(path, secrets.token_urlsafe(32))


def write(path: Path, secret: str) -> None:
    """Make a file with a secret, in the place of an older one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secret + "\n")


def give_to(user: str | None, path: Path) -> None:
    """Make a path the container's user's, which only root can and only root has to."""
    uid, _, gid = (user or "").partition(":")
    if uid.isdigit() and os.geteuid() == 0:
        os.chown(path, int(uid), int(gid or uid))


def authorization(server: Server) -> dict[str, str]:
    """The header that a server wants to see, if it asks for a key that can be read."""
    if server.api_key_file is None:
        return {}
    try:
        keys = Path(server.api_key_file).read_text(encoding="utf-8").split()
    except OSError:
        return {}
    return {"Authorization": f"Bearer {keys[0]}"} if keys else {}
