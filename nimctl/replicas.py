"""The replicas that an update is to replace, or why there is nothing to update."""

from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.router import ROUTER
from nimctl.core.servers import Member
from nimctl.tools import Tools


def replicas_of(name: str, tools: Tools) -> tuple[Member, ...]:
    """Those behind a running router.

    Raises:
        NotFoundError: There is no server of this name, or nothing behind it.
        UsageError: It is no router, or does not run.
    """
    server = tools.servers.server(name)
    if server.backend != ROUTER:
        whole = server.group
        raise UsageError(
            f"{name} is one replica of {whole}" if whole else f"{name} has no router",
            cause=None if whole else "nobody would answer while it is replaced",
            hint=f"nimctl update {whole}"
            if whole
            else f"nimctl stop {name}, then serve it anew, with --replicas 2 for updates without"
            " a gap",
        )
    if not tools.servers.is_running(name):
        raise UsageError(f"{name} does not run", hint=f"nimctl restart {name}")
    members = tools.groups.replicas(name)
    if not members:
        raise NotFoundError(
            f"{name} has no replicas any more", hint=f"nimctl stop {name}, then serve it anew"
        )
    return members
