"""Requests over kept connections: redirects by hand, credentials to their own origin only."""

import functools
import netrc
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from nimctl import __version__
from nimctl.core.closing import Closing
from nimctl.core.errors import NetworkError, UsageError
from nimctl.core.http import (
    Origin,
    is_this_machine,
    origin,
    proxy_for,
    redacted,
    redirected,
)
from nimctl.core.ports import Location
from nimctl.store.transfer.answers import Answer, Ask, Moved, read_answer
from nimctl.store.transfer.connection import Connection, Response, Sockets, basic, tls_context
from nimctl.store.transfer.failures import TemporaryError
from nimctl.store.transfer.local import LocalContent, is_local
from nimctl.store.transfer.options import TransferOptions
from nimctl.store.transfer.urls import request_target

Content: TypeAlias = Response | LocalContent

_MOST_REDIRECTS = 5
_MOST_KEPT_CONNECTIONS = 4


class Network:
    """What all connections have in common; each part is made when it is first needed."""

    def __init__(self, options: TransferOptions) -> None:
        self.options = options

    @functools.cached_property
    def tls(self) -> ssl.SSLContext:
        """Made once: reading the system's certificates takes longer than a request."""
        return tls_context(self.options.ca_file)

    @functools.cached_property
    def logins(self) -> Mapping[str, str]:
        """Host to Authorization header, from the netrc file; its `default` entry is left out."""
        path = self.options.netrc_file
        if path is None or not Path(path).is_file():
            return {}
        try:
            hosts = netrc.netrc(path).hosts
        except (netrc.NetrcParseError, OSError) as error:
            raise UsageError(f"{path} cannot be read", cause=str(error)) from error
        return {
            host: basic(f"{login}:{password}")
            for host, (login, _, password) in hosts.items()
            if host != "default"
        }


class Client(Closing):
    """The connections of one thread, at most one to each origin."""

    def __init__(self, network: Network, sockets: Sockets) -> None:
        self._network = network
        self._sockets = sockets
        self._kept: dict[Origin, Connection] = {}

    def close(self) -> None:
        """Close its connections."""
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    def get(self, location: Location, url: str, ask: Ask) -> tuple[str, Content, Answer]:
        """Ask for bytes of `url`, which is the location's or where that redirected to before.

        Returns where the answer came from, the open response, and what it means.

        Raises:
            TemporaryError: The connection failed.
            NetworkError: Redirects lead nowhere, or to an unencrypted place.
        """
        if is_local(url):
            content = LocalContent(url, ask)
            return url, content, content.body
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._request(location, url, ask)
            answer = read_answer(ask, response.status, response.headers, datetime.now(UTC))
            if not isinstance(answer, Moved):
                return url, response, answer
            response.discard()
            url = redirected(url, answer.location)
        raise NetworkError(
            f"{redacted(location.url)} redirects more than {_MOST_REDIRECTS} times",
            cause=f"the last address is {redacted(url)}",
        )

    def _request(self, location: Location, url: str, ask: Ask) -> Response:
        target = origin(url)
        headers = {"User-Agent": f"nimctl/{__version__}", **ask.headers()}
        if target == origin(location.url):
            headers |= self._credentials(location, target)
        connection = self._connection(target)
        was_open = connection.is_open
        try:
            return connection.get(request_target(url), headers)
        except TemporaryError:
            if not was_open:
                raise
            # A server may close a kept connection at any time, also just now.
            return connection.get(request_target(url), headers)

    def _credentials(self, location: Location, target: Origin) -> dict[str, str]:
        headers = dict(location.headers)
        if not any(name.lower() == "authorization" for name in headers):
            login = self._network.logins.get(target.host)
            # A password that was meant for TLS must not be read on the way.
            if login and (target.scheme == "https" or is_this_machine(target.host)):
                headers["Authorization"] = login
        return headers

    def _connection(self, target: Origin) -> Connection:
        connection = self._kept.pop(target, None) or self._new_connection(target)
        self._kept[target] = connection
        if len(self._kept) > _MOST_KEPT_CONNECTIONS:
            oldest = next(iter(self._kept))
            self._kept.pop(oldest).close()
        return connection

    def _new_connection(self, target: Origin) -> Connection:
        options = self._network.options
        return Connection(
            target,
            proxy_for(target, options.proxies),
            tls=self._network.tls if target.scheme == "https" else None,
            connect_timeout_s=options.connect_timeout_s,
            stall_timeout_s=options.stall_timeout_s,
            sockets=self._sockets,
        )
