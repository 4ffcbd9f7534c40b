"""The metadata of a Hugging Face repository whose files nginx serves: for `hf` and `hf://`."""

import http.server
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

COMMIT = "c" * 40
PORT = 18918


@contextmanager
def serving_hub(
    www: Path, nginx_port: int, names: Sequence[str], digests: dict[str, str]
) -> Iterator[str]:
    """Serve `bench/model`, all files in large-file storage, redirected to nginx; its URL."""
    sizes = {name: (www / name).stat().st_size for name in names}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    Handler.store = f"http://127.0.0.1:{nginx_port}"
    Handler.heads = {name: (sizes[name], digests[name]) for name in names}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{PORT}"
    finally:
        server.shutdown()
        server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what `hf download` asks: model, tree, and where each file is."""

    protocol_version = "HTTP/1.1"
    store: ClassVar[str]
    heads: ClassVar[dict[str, tuple[int, str]]]

    def do_GET(self) -> None:
        """Answer GET and HEAD."""
        path = urlsplit(self.path).path
        if "/resolve/" in path:
            self._redirect(path.partition(f"/resolve/{COMMIT}/")[2])
        elif "/tree/" in path:
            self._answer(200, json.dumps([*map(self._entry, self.heads)]).encode())
        elif path.startswith("/api/models/"):
            self._answer(200, json.dumps(self._info()).encode())
        else:
            self._answer(404, b"{}")

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def _info(self) -> dict[str, object]:
        siblings = [{"rfilename": name} for name in self.heads]
        return {"id": "bench/model", "sha": COMMIT, "siblings": siblings, "gated": False}

    def _entry(self, name: str) -> dict[str, object]:
        size, sha256 = self.heads[name]
        lfs = {"oid": sha256, "size": size, "pointerSize": 134}
        return {"type": "file", "path": name, "size": size, "oid": "0" * 40, "lfs": lfs}

    def _redirect(self, name: str) -> None:
        size, sha256 = self.heads[name]
        headers = {
            "Location": f"{self.store}/{name}",
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(size),
            "X-Linked-Etag": f'"{sha256}"',
        }
        self._answer(302, b"", headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
