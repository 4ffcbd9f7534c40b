"""Model references: text becomes a value once, at the edge."""

import hashlib
import re
from pathlib import PurePosixPath
from typing import Literal, Self, get_args
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from nimctl.core.errors import UsageError
from nimctl.core.value import Value

Scheme = Literal["catalogue", "package", "file", "https", "http", "hf"]

_CATALOGUE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_HF_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_FORMS = "a catalogue name, hf://ORG/REPO[@REVISION], https://…[#sha256=HEX], or file:///PATH"


class ModelRef(Value):
    """A name for a model in one registry; `parse` and `str` are inverse.

    `path` is what follows `scheme://`: `org/repo`, an absolute path, or host and path.
    """

    scheme: Scheme
    path: str
    revision: str | None = None
    include: tuple[str, ...] = ()
    sha256: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference.

        Raises:
            UsageError: It has none of the known forms.
        """
        if text.startswith(("/", "./", "../", "~")) or text in (".", ".."):
            raise UsageError(
                f"`{text}` is a path, not a model reference", hint=f"file://{_absolute_hint(text)}"
            )
        scheme, separator, rest = text.partition("://")
        if not separator:
            return cls._parse_name(text)
        match scheme:
            case "hf":
                return cls._parse_hf(text, rest)
            case "https" | "http":
                return cls._parse_web(text, scheme)
            case "file":
                return cls._parse_file(text, rest)
            case "package":
                return cls(scheme="package", path=rest)
        raise UsageError(
            f"`{scheme}://` is not a registry that nimctl knows", cause=f"use {_FORMS}"
        )

    @classmethod
    def _parse_name(cls, text: str) -> Self:
        if _CATALOGUE_NAME.fullmatch(text):
            return cls(scheme="catalogue", path=text)
        if _HF_REPOSITORY.fullmatch(text):
            raise UsageError(f"`{text}` names no registry", hint=f"nimctl pull hf://{text}")
        if _CATALOGUE_NAME.fullmatch(text.lower()):
            raise UsageError(f"`{text}` is no catalogue name", hint=f"use {text.lower()}")
        raise UsageError(f"`{text}` is no model reference", cause=f"use {_FORMS}")

    @classmethod
    def _parse_hf(cls, text: str, rest: str) -> Self:
        location, _, query = rest.partition("?")
        repository, at, revision = location.partition("@")
        if not _HF_REPOSITORY.fullmatch(repository) or (at and not revision):
            raise UsageError(f"`{text}` is not hf://ORG/REPO[@REVISION][?include=GLOB]")
        include: list[str] = []
        for key, value in parse_qsl(query, keep_blank_values=True):
            if key != "include" or not value:
                raise UsageError(
                    f"`{key}` in `{text}` is not understood", hint="?include=GLOB,GLOB"
                )
            include.extend(value.split(","))
        return cls(
            scheme="hf",
            path=repository,
            revision=unquote(revision) or None,
            include=tuple(glob for glob in include if glob),
        )

    @classmethod
    def _parse_web(cls, text: str, scheme: Literal["https", "http"]) -> Self:
        try:
            parts = urlsplit(text)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"`{text}` is no URL", cause=str(error)) from None
        if not host or not PurePosixPath(parts.path).name:
            raise UsageError(
                f"`{text}` names no file", hint=f"{scheme}://HOST/PATH/FILE#sha256=HEX"
            )
        if parts.username or parts.password:
            raise UsageError("credentials do not belong in a URL", hint="put them into ~/.netrc")
        sha256 = None
        if parts.fragment:
            key, _, sha256 = parts.fragment.partition("=")
            sha256 = sha256.lower()
            if key != "sha256" or not _SHA256.fullmatch(sha256):
                raise UsageError(f"`#{parts.fragment}` is not `#sha256=` and 64 hex digits")
        if scheme == "http" and not sha256 and parts.netloc.partition(":")[0] not in _LOOPBACK:
            raise UsageError(
                f"`{text}` is neither encrypted nor pinned",
                hint="use https://, or append #sha256=HEX",
            )
        return cls(scheme=scheme, path=text.partition("://")[2].partition("#")[0], sha256=sha256)

    @classmethod
    def _parse_file(cls, text: str, rest: str) -> Self:
        path = unquote(rest)
        if not path.startswith("/") or "\0" in path:
            raise UsageError(f"`{text}` is no absolute path", hint="file:///PATH")
        return cls(scheme="file", path=path)

    def __str__(self) -> str:
        """The canonical text: equal references have equal text."""
        match self.scheme:
            case "catalogue":
                return self.path
            case "file":
                return f"file://{quote(self.path)}"
            case "hf":
                revision = f"@{quote(self.revision)}" if self.revision else ""
                query = (
                    urlencode({"include": ",".join(self.include)}, safe="*,?[]/")
                    if self.include
                    else ""
                )
                return f"hf://{self.path}{revision}{'?' if query else ''}{query}"
            case _:
                return f"{self.scheme}://{self.path}" + (
                    f"#sha256={self.sha256}" if self.sha256 else ""
                )

    @property
    def digest(self) -> str:
        """sha256 of the canonical text, in hex: the file name of what it was resolved to."""
        return hashlib.sha256(str(self).encode()).hexdigest()

    @property
    def short_name(self) -> str:
        """What people call the model: the catalogue name, `org/repo`, or the file's stem."""
        if self.scheme in ("catalogue", "hf", "package"):
            return self.path
        return PurePosixPath(unquote(self.path.partition("?")[0])).stem or self.path

    @property
    def directory_name(self) -> str:
        """A name for directories and servers: safe in a path, distinct for distinct references."""
        if self.scheme == "catalogue":
            return self.path
        readable = re.sub(r"[^a-z0-9.]+", "-", self.short_name.lower()).strip("-.") or "model"
        return f"{readable[:80]}-{self.digest[:8]}"


SCHEMES: tuple[str, ...] = get_args(Scheme)


def _absolute_hint(text: str) -> str:
    return text if text.startswith("/") else f"$(realpath {text})"
