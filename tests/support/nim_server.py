"""A stand-in for a running NIM, as far as its manifest goes."""

from typing import Self

from faulty_server import Handler, Server, Site


class NimSite(Site):
    """`answers` maps a path to the body that it gets; any other path is not found."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        super().__init__()
        self.answers = answers


class NimHandler(Handler[NimSite]):
    """Answers what it is told to."""

    name = "nim"

    def answer_request(self) -> None:
        body = self.server.site.answers.get(self.path)
        self.answer(404 if body is None else 200, {}, body or b'{"detail":"Not Found"}')


class NimServer:
    """The server, between `__enter__` and `__exit__`."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self.site = NimSite(answers)
        self._server = Server(self.site, NimHandler)
        self.url = self._server.url

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
