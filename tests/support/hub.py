"""A stand-in for the Hugging Face Hub: its API and its CDN, on two ports of this machine.

What it answers follows what `hf download` of huggingface_hub 2.4.0 asks and accepts;
`test_hub_standin.py` runs that client against it. There is no Xet storage.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from faulty_server import Handler, Seen, Server, Site

LFS_SUFFIXES = (".bin", ".gguf", ".safetensors")
_MODEL = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)(?P<rest>/.*)?")
_RESOLVE = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")

Gated = Literal["auto", "manual", False]


@dataclass
class Repository:
    """A model repository: commits by id, and the branches and tags that name them."""

    name: str
    private: bool = False
    gated: Gated = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes], *, branch: str = "main") -> str:
        """Put files on a branch; returns the commit."""
        content = json.dumps({path: git_sha1(data) for path, data in sorted(files.items())})
        commit = hashlib.sha1(f"{self.name} {content}".encode()).hexdigest()  # noqa: S324 - as git
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def find(self, revision: str) -> str | None:
        """The commit that a branch, tag or commit names."""
        if revision in self.commits:
            return revision
        return self.branches.get(revision) or self.tags.get(revision)


@dataclass
class _Signed:
    path: str
    data: bytes
    uses: int


class Hub(Site):
    """The stand-in; a context manager that listens while it is open.

    `grants` maps each valid token to the names of the private and gated repositories that it opens.
    `renamed` maps old names to new ones. A signed URL is good for `signature_uses`. Faults are of
    the kinds `api`, `resolve` and `cdn`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.grants: dict[str, set[str]] = {}
        self.renamed: dict[str, str] = {}
        self.page_size = 1000
        self.signature_uses = 10**6
        self.signed: dict[str, _Signed] = {}
        self._hub, self._cdn = Server(self, _HubHandler), Server(self, _CdnHandler)

    def add(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        private: bool = False,
        gated: Gated = False,
    ) -> Repository:
        """Make a repository with one commit on `main`."""
        repository = Repository(name, private=private, gated=gated)
        repository.commit(files)
        self.repositories[name] = repository
        return repository

    @property
    def endpoint(self) -> str:
        """The URL for HF_ENDPOINT."""
        return self._hub.url

    def sign(self, path: str, data: bytes) -> str:
        """A URL on the CDN that opens `data` without credentials."""
        signature = secrets.token_hex(16)
        self.signed[signature] = _Signed(path, data, self.signature_uses)
        name = quote(PurePosixPath(path).name)
        return f"{self._cdn.url}/blobs/{name}?X-Amz-Expires=3600&X-Amz-Signature={signature}"

    def requests_to(self, server: Literal["hub", "cdn"]) -> list[Seen]:
        """What one of the two servers was asked."""
        return [one for one in self.seen if one.server == server]

    def __enter__(self) -> Self:
        self._hub.start()
        self._cdn.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._hub.stop()
        self._cdn.stop()


def git_sha1(data: bytes) -> str:
    """The id that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 - as git


def is_lfs(path: str) -> bool:
    """Whether the Hub keeps a file outside git."""
    return path.endswith(LFS_SUFFIXES)


class _CdnHandler(Handler[Hub]):
    name = "cdn"

    def answer_request(self) -> None:
        if self.has_planned_failure("cdn"):
            return
        if "Authorization" in self.headers:
            self.answer(400, {}, b"only one auth mechanism is allowed")
            return
        signature = parse_qs(urlsplit(self.path).query).get("X-Amz-Signature", [""])[0]
        signed = self.server.site.signed.get(signature)
        if signed is None or signed.uses == 0:
            self.answer(403, {}, b"the signature is unknown or has expired")
            return
        signed.uses -= 1
        etag = hashlib.sha256(signed.data).hexdigest()[:32]
        self.answer_file(signed.path, signed.data, {"ETag": f'"{etag}"'})


class _HubHandler(Handler[Hub]):
    name = "hub"

    @property
    def hub(self) -> Hub:
        return self.server.site

    def answer_request(self) -> None:
        path = urlsplit(self.path).path
        resolve, model = _RESOLVE.fullmatch(path), _MODEL.fullmatch(path)
        if self.has_planned_failure("resolve" if resolve else "api"):
            return
        if self._token() not in (None, *self.hub.grants):
            self._error(401, None, "Invalid credentials in Authorization header")
        elif path == "/api/whoami-v2" and self._token():
            self._json({"name": "somebody", "type": "user"})
        elif resolve:
            self._with_repository(
                resolve["name"],
                lambda one: self._resolve(
                    one, unquote(resolve["revision"]), unquote(resolve["path"])
                ),
            )
        elif model:
            self._with_repository(model["name"], lambda one: self._api(one, model["rest"] or ""))
        else:
            self._error(404, None, "Sorry, we can't find the page you are looking for.")

    def _token(self) -> str | None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if kind == "Bearer" else None

    def _is_granted(self, repository: Repository) -> bool:
        return repository.name in self.hub.grants.get(self._token() or "", set())

    def _with_repository(self, name: str, act: Callable[[Repository], None]) -> None:
        if name in self.hub.renamed:
            self.answer(307, {"Location": self.path.replace(name, self.hub.renamed[name], 1)})
            return
        found = self.hub.repositories.get(name)
        if found and (not found.private or self._is_granted(found)):
            act(found)
        elif self._token():
            self._error(404, "RepoNotFound", "Repository not found")
        else:
            self._error(401, "RepoNotFound", "Invalid username or password.")

    def _api(self, repository: Repository, rest: str) -> None:
        action, _, revision = rest.removeprefix("/").partition("/")
        commit = repository.find(unquote(revision) or "main")
        match action:
            case "refs":
                self._json(_refs(repository))
            case "auth-check":
                if self._may_read(repository):
                    self._json({})
            case _ if commit is None:
                self._no_revision(revision)
            case "" | "revision":
                self._json(_info(repository, commit))
            case "tree":
                self._tree(repository.commits[commit])
            case _:
                self._error(404, None, "not found")

    def _tree(self, files: Mapping[str, bytes]) -> None:
        size = self.hub.page_size
        query = parse_qs(urlsplit(self.path).query)
        start = int(query.get("cursor", ["0"])[0])
        entries = list(_entries(files))
        headers = {}
        if start + size < len(entries):
            path = urlsplit(self.path).path
            url = f"{self.hub.endpoint}{path}?recursive=true&expand=false&cursor={start + size}"
            headers = {"Link": f'<{url}>; rel="next"'}
        self._json(entries[start : start + size], headers)

    def _resolve(self, repository: Repository, revision: str, path: str) -> None:
        commit = repository.find(revision)
        if commit is None:
            return self._no_revision(revision)
        if not self._may_read(repository):
            return None
        data = repository.commits[commit].get(path)
        if data is None:
            return self._error(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": commit}
        if not is_lfs(path):
            return self.answer_file(path, data, {**headers, "ETag": f'"{git_sha1(data)}"'})
        linked = {
            "X-Linked-Size": str(len(data)),
            "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
            "Location": self.hub.sign(path, data),
        }
        return self.answer(302, {**headers, **linked})

    def _may_read(self, repository: Repository) -> bool:
        """Whether a gated repository's files are open; if not, says so."""
        if not repository.gated or self._is_granted(repository):
            return True
        status = 403 if self._token() else 401
        self._error(status, "GatedRepo", f"Access to model {repository.name} is restricted.")
        return False

    def _no_revision(self, revision: str) -> None:
        self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def _json(self, content: Any, headers: Mapping[str, str] | None = None) -> None:
        fixed = {"Content-Type": "application/json; charset=utf-8"}
        self.answer(200, {**fixed, **(headers or {})}, json.dumps(content).encode())

    def _error(self, status: int, code: str | None, message: str) -> None:
        headers = {"Content-Type": "application/json; charset=utf-8", "X-Error-Message": message}
        if code:
            headers["X-Error-Code"] = code
        self.answer(status, headers, json.dumps({"error": message}).encode())


def _info(repository: Repository, commit: str) -> dict[str, Any]:
    return {
        "id": repository.name,
        "modelId": repository.name,
        "sha": commit,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "lastModified": "2026-01-01T00:00:00.000Z",
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [{"rfilename": path} for path in repository.commits[commit]],
    }


def _refs(repository: Repository) -> dict[str, Any]:
    def listed(names: Mapping[str, str], kind: str) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": commit}
            for name, commit in names.items()
        ]

    return {
        "branches": listed(repository.branches, "heads"),
        "tags": listed(repository.tags, "tags"),
        "converts": [],
    }


def _entries(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    parents = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    for directory in sorted(parents - {".", "/"}):
        yield {"type": "directory", "path": directory, "oid": git_sha1(b""), "size": 0}
    for path, data in sorted(files.items()):
        entry = {"type": "file", "path": path, "size": len(data), "oid": git_sha1(data)}
        if is_lfs(path):
            sha256 = hashlib.sha256(data).hexdigest()
            pointer = (
                "version https://git-lfs.github.com/spec/v1\n"
                f"oid sha256:{sha256}\nsize {len(data)}\n"
            ).encode()
            lfs = {"oid": sha256, "size": len(data), "pointerSize": len(pointer)}
            entry = {**entry, "oid": git_sha1(pointer), "lfs": lfs}
        yield entry
