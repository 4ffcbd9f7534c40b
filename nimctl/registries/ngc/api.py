"""The NGC API as one account sees it: documents, pages of them, and refusals."""

from collections.abc import Callable, Iterator
from functools import cached_property
from http import HTTPStatus
from typing import TypeVar

import msgspec

from nimctl.http import Response
from nimctl.registries.ngc.endpoints import Endpoints, Model, Release
from nimctl.registries.ngc.failures import refusal
from nimctl.registries.ngc.session import Session
from nimctl.registries.ngc.wire import Page, decode, nonsense

_MOST_PAGES = 10_000
Answer = TypeVar("Answer", bound=msgspec.Struct)
PageT = TypeVar("PageT", bound=Page)


class Api:
    """Sends requests as `session`; all methods raise what `Session.get` raises."""

    def __init__(self, session: Session, api_url: str) -> None:
        self.session = session
        self.url = api_url.rstrip("/")

    @cached_property
    def at(self) -> Endpoints:
        """The URLs that this account uses."""
        return Endpoints(api_url=self.url, is_guest=self.session.is_guest)

    def ask(self, url: str, what: Model | Release) -> Response:
        """Ask for a document about something; the answer has any status."""
        return self.session.get(url, what.model if isinstance(what, Release) else what)

    def accept(self, response: Response, what: Model | Release) -> Response:
        """Return an answer that is a success.

        Raises:
            AuthError: NGC refuses access; the message says which of the reasons it is.
            NotFoundError: There is no such thing.
            NetworkError: Any other status.
        """
        if response.status != HTTPStatus.OK:
            raise refusal(response, what, is_guest=self.session.is_guest)
        return response

    def read(self, url: str, what: Model | Release, kind: type[Answer]) -> Answer:
        """Ask for a document; raises as `accept` does."""
        return decode(self.accept(self.ask(url, what), what), kind)

    def pages(
        self,
        first: Response,
        url_of: Callable[[int], str],
        what: Model | Release,
        kind: type[PageT],
    ) -> Iterator[PageT]:
        """Read a list to its end, from its first page; raises as `accept` does.

        The first page is asked for without a number and tells its own: some answers count from 0,
        others from 1.
        """
        page = decode(self.accept(first, what), kind)
        yield page
        info = page.pagination_info
        if info is None or info.total_pages is None:
            return
        if info.total_pages > _MOST_PAGES:
            raise nonsense(first)
        start = info.index or 0
        for number in range(start + 1, start + info.total_pages):
            page = self.read(url_of(number), what, kind)
            if page.is_empty:
                return
            yield page
