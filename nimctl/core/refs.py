"""Model references: text becomes a value once, at the edge."""

import hashlib
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

from nimctl.core.errors import OtherReferenceError, UsageError
from nimctl.core.http import is_this_machine
from nimctl.core.value import Value

Scheme = Literal[
    "catalogue", "package", "file", "https", "http", "hf", "ngc", "oci", "ollama", "s3"
]

_CATALOGUE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_HF_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_NGC_MODEL = re.compile(r"\w[\w.-]*(/\w[\w.-]*){1,2}", re.ASCII)
# With the characters of globs, which `nimctl versions` takes.
_NGC_VERSION = re.compile(r"[\w.+*?\[\]-]+", re.ASCII)
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
_OCI_REPOSITORY = re.compile(
    r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:\d+)?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+", re.ASCII
)
_OCI_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_OCI_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_OLLAMA_MODEL = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and the underscores
# and capitals of older buckets.
_S3_BUCKET = re.compile(r"[A-Za-z0-9][\w.-]{1,62}", re.ASCII)
# What other tools call a registry, and the sites whose pages people copy the address of.
_SCHEMES = {"huggingface": "hf", "hf.co": "hf", "docker": "oci", "nim": "ngc", "nvcr": "ngc"}
_SITES = {
    "huggingface.co": "hf",
    "www.huggingface.co": "hf",
    "hf.co": "hf",
    "ollama.com": "ollama",
    "registry.ollama.ai": "ollama",
}
_MODEL_PAGE = re.compile(r"/(library/)?(?P<model>[\w.-]+(/[\w.-]+)?(:[\w.-]+)?)/?", re.ASCII)
_HUB_FILES_PAGE = re.compile(
    r"/(?P<model>[\w.-]+/[\w.-]+)/(?P<kind>blob|tree)/(?P<revision>[^/]+)(/(?P<path>.*[^/]))?/?",
    re.ASCII,
)
_WITH_GLOBS = ("hf", "ngc", "oci", "s3")
_FORMS = (
    "a catalogue name, ngc://ORG[/TEAM]/MODEL[:VERSION], hf://ORG/REPO[@REVISION], "
    "oci://HOST/REPOSITORY[:TAG], ollama://NAME[:TAG], s3://BUCKET/PREFIX, https://…[#sha256=HEX], "
    "or file:///PATH"
)


class ModelRef(Value):
    """A name for a model in one registry; `parse` and `str` are inverse.

    `path` is what follows `scheme://`: `org/repo`, an absolute path, host and path, or bucket and
    the beginning of keys, as they are and without escapes. `include`
    and `exclude` are globs over paths or file names, `files` are exact paths; without `include` and
    `files` all files are meant.
    """

    scheme: Scheme
    path: str
    revision: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    sha256: str | None = None

    @staticmethod
    def parse(text: str) -> "ModelRef":
        """Read a reference.

        Raises:
            UsageError: It has none of the known forms.
        """
        if text.startswith(("/", "./", "../", "~")) or text in (".", ".."):
            path = text if text.startswith("/") else f"$(realpath {text})"
            raise OtherReferenceError(
                f"`{text}` is a path, not a model reference", f"file://{path}"
            )
        scheme, separator, rest = text.partition("://")
        if not separator:
            return _parse_name(text)
        parser = _PARSERS.get(scheme)
        if parser is None:
            problem = f"`{scheme}://` is not a registry that nimctl knows"
            if meant := _SCHEMES.get(scheme):
                raise OtherReferenceError(problem, f"{meant}://{rest}")
            raise UsageError(problem, cause=f"use {_FORMS}")
        return parser(text, rest)

    def __str__(self) -> str:
        """The canonical text: equal references have equal text."""
        match self.scheme:
            case "catalogue":
                return self.path
            case "file":
                return f"file://{quote(self.path)}"
            case "package" | "https" | "http":
                digest = f"#sha256={self.sha256}" if self.sha256 else ""
                return f"{self.scheme}://{self.path}{digest}"
        return f"{self.scheme}://{self.path}{self._revision_text()}{self._query_text()}"

    def _revision_text(self) -> str:
        if not self.revision:
            return ""
        at = self.scheme == "hf" or self.revision.startswith("sha256:")
        return f"{'@' if at else ':'}{quote(self.revision, safe='/:+*')}"

    def _query_text(self) -> str:
        queries = {"include": ",".join(self.include), "exclude": ",".join(self.exclude)}
        given = [(key, globs) for key, globs in queries.items() if globs]
        given += [("file", path) for path in self.files]
        return "?" + urlencode(given, safe="*,?[]/", quote_via=quote) if given else ""

    def selects(self, path: str) -> bool:
        """Tell whether a file of the model is meant."""

        def matches(globs: tuple[str, ...]) -> bool:
            name = PurePosixPath(path).name
            return any(fnmatchcase(path, glob) or fnmatchcase(name, glob) for glob in globs)

        if path in self.files:
            return True
        is_narrow = bool(self.include or self.files)
        return (not is_narrow or matches(self.include)) and not matches(self.exclude)

    def narrowed(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> "ModelRef":
        """The same model with fewer files.

        Raises:
            UsageError: References of this kind have no globs.
        """
        if not include and not exclude:
            return self
        if self.scheme not in _WITH_GLOBS:
            raise UsageError(
                f"--include and --exclude do not go with `{self}`",
                cause="they narrow " + ", ".join(f"{scheme}://" for scheme in _WITH_GLOBS),
            )
        return msgspec.structs.replace(
            self, include=self.include + include, exclude=self.exclude + exclude
        )

    @property
    def digest(self) -> str:
        """sha256 of the canonical text, in hex: the file name of what it was resolved to."""
        return hashlib.sha256(str(self).encode()).hexdigest()

    @property
    def short_name(self) -> str:
        """What people call the model: the catalogue name, `org/repo`, or the file's stem."""
        if self.scheme == "s3":
            return PurePosixPath(self.path).name
        if self.scheme in ("file", "https", "http"):
            return PurePosixPath(unquote(self.path.partition("?")[0])).stem or self.path
        return self.path

    @property
    def directory_name(self) -> str:
        """A name for directories and servers: safe in a path, distinct for distinct references."""
        if self.scheme == "catalogue":
            return self.path
        readable = re.sub(r"[^a-z0-9.]+", "-", self.short_name.lower()).strip("-.") or "model"
        return f"{readable[:80]}-{self.digest[:8]}"


def _parse_name(text: str) -> ModelRef:
    if _CATALOGUE_NAME.fullmatch(text):
        return ModelRef(scheme="catalogue", path=text)
    if _CATALOGUE_NAME.fullmatch(text.lower()):
        raise OtherReferenceError(f"`{text}` is no catalogue name", text.lower())
    if text.startswith("nvcr.io/nim/"):
        name = text.rpartition("/")[2].partition(":")[0]
        raise UsageError(
            f"`{text}` is a container image, not a model",
            hint=f"nimctl serve {name} --backend nim; nimctl list-profiles --image {text}",
        )
    if meant := _with_registry(text):
        raise OtherReferenceError(f"`{text}` names no registry", meant)
    raise UsageError(f"`{text}` is no model reference", cause=f"use {_FORMS}")


def _with_registry(text: str) -> str | None:
    """What is meant by a name as the registries' own tools take it."""
    scheme, _, rest = text.partition(":")
    if "/" in rest and (known := scheme if scheme in _PARSERS else _SCHEMES.get(scheme)):
        return f"{known}://{rest}"
    host, _, path = text.partition("/")
    if meant := _SITES.get(host):
        return f"{meant}://{path.removeprefix('library/')}"
    if path and ("." in host or ":" in host):
        return f"oci://{text}"
    if _HF_REPOSITORY.fullmatch(text):
        return f"hf://{text}"
    if _OLLAMA_MODEL.fullmatch(text.partition(":")[0]):
        return f"ollama://{text}"
    return f"ngc://{text}" if _NGC_MODEL.fullmatch(text.partition(":")[0]) else None


def _parse_hf(text: str, rest: str) -> ModelRef:
    location, _, query = rest.partition("?")
    # NIM manifests write `:` before the revision: see nim_workspace.py.
    repository, at, revision = location.partition("@" if "@" in location else ":")
    if not _HF_REPOSITORY.fullmatch(repository) or (at and not revision):
        raise UsageError(f"`{text}` is not hf://ORG/REPO[@REVISION][?include=GLOB]")
    ref = ModelRef(scheme="hf", path=repository, revision=unquote(revision) or None)
    return _selecting(ref, text, query)


def _parse_ngc(text: str, rest: str) -> ModelRef:
    location, _, query = rest.partition("?")
    model, colon, version = location.partition(":")
    version = unquote(version)
    if not _NGC_MODEL.fullmatch(model) or (colon and not _NGC_VERSION.fullmatch(version)):
        raise UsageError(f"`{text}` is not ngc://ORG[/TEAM]/MODEL[:VERSION][?include=GLOB]")
    ref = ModelRef(scheme="ngc", path=model, revision=version or None)
    return _selecting(ref, text, query)


def _parse_oci(text: str, rest: str) -> ModelRef:
    location, _, query = rest.partition("?")
    repository, at, digest = location.partition("@")
    colon = tag = ""
    if ":" in repository.rpartition("/")[2]:
        repository, colon, tag = repository.rpartition(":")
    is_tag, is_digest = _OCI_TAG.fullmatch(tag), _OCI_DIGEST.fullmatch(digest)
    if (
        not _OCI_REPOSITORY.fullmatch(repository)
        or (colon and not is_tag)
        or (at and not is_digest)
    ):
        raise UsageError(f"`{text}` is not oci://HOST/REPOSITORY[:TAG][@sha256:HEX]")
    # Beside a digest, a tag only tells people what it was.
    ref = ModelRef(scheme="oci", path=repository, revision=digest or tag or None)
    return _selecting(ref, text, query)


def _parse_ollama(text: str, rest: str) -> ModelRef:
    model, colon, tag = rest.partition(":")
    is_revision = _OCI_TAG.fullmatch(tag) or _OCI_DIGEST.fullmatch(tag)
    if not _OLLAMA_MODEL.fullmatch(model) or (colon and not is_revision):
        raise UsageError(f"`{text}` is not ollama://[NAMESPACE/]NAME[:TAG]")
    return ModelRef(scheme="ollama", path=model, revision=tag or None)


def _parse_s3(text: str, rest: str) -> ModelRef:
    location, _, query = rest.partition("?")
    bucket, _, prefix = location.partition("/")
    path = f"{bucket}/{prefix}".rstrip("/")
    if not _S3_BUCKET.fullmatch(bucket) or not path.isprintable():
        raise UsageError(f"`{text}` is not s3://BUCKET/PREFIX[?include=GLOB]")
    return _selecting(ModelRef(scheme="s3", path=path), text, query)


def _parse_web(text: str, rest: str) -> ModelRef:
    scheme: Literal["https", "http"] = "https" if text.startswith("https:") else "http"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"`{text}` is no URL", cause=str(error)) from None
    if meant := _meant_by_page(_SITES.get(host or ""), parts.path):
        raise OtherReferenceError(f"`{text}` is a page, not a file", meant)
    if not host or not PurePosixPath(parts.path).name:
        raise UsageError(f"`{text}` names no file", hint=f"{scheme}://HOST/PATH/FILE#sha256=HEX")
    if parts.username or parts.password:
        raise UsageError("credentials do not belong in a URL", hint="put them into ~/.netrc")
    key, _, sha256 = parts.fragment.lower().partition("=")
    if parts.fragment and (key != "sha256" or not _SHA256.fullmatch(sha256)):
        raise UsageError(f"`#{parts.fragment}` is not `#sha256=` and 64 hex digits")
    if scheme == "http" and not sha256 and not is_this_machine(host):
        raise UsageError(
            f"`{text}` is neither encrypted nor pinned", hint="use https://, or append #sha256=HEX"
        )
    return ModelRef(scheme=scheme, path=rest.partition("#")[0], sha256=sha256 or None)


def _meant_by_page(site: str | None, path: str) -> str | None:
    """The model, or what of it, that a site's page shows; None for what is no such page."""
    if site and (page := _MODEL_PAGE.fullmatch(path)):
        return f"{site}://{page['model']}"
    if site == "hf" and (page := _HUB_FILES_PAGE.fullmatch(path)):
        what = {"blob": f"?file={page['path']}", "tree": f"?include={page['path']}/*"}[page["kind"]]
        return f"hf://{page['model']}@{page['revision']}{what if page['path'] else ''}"
    return None


def _parse_file(text: str, rest: str) -> ModelRef:
    path = unquote(rest)
    if not path.startswith("/") or "\0" in path:
        raise UsageError(f"`{text}` is no absolute path", hint="file:///PATH")
    return ModelRef(scheme="file", path=path)


def _parse_package(text: str, rest: str) -> ModelRef:
    if not _CATALOGUE_NAME.fullmatch(rest):
        raise UsageError(f"`{text}` is not package://NAME")
    return ModelRef(scheme="package", path=rest)


def _selecting(ref: ModelRef, text: str, query: str) -> ModelRef:
    """The reference with what `include=GLOB,GLOB`, `exclude=GLOB,GLOB` and `file=PATH` select."""
    found: dict[str, tuple[str, ...]] = {"include": (), "exclude": (), "file": ()}
    for key, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):
        if key not in found or not value:
            raise UsageError(f"`{key}` in `{text}` is not understood", hint="?include=GLOB,GLOB")
        values = (value,) if key == "file" else tuple(glob for glob in value.split(",") if glob)
        found[key] += values
    return msgspec.structs.replace(
        ref, include=found["include"], exclude=found["exclude"], files=found["file"]
    )


_PARSERS: dict[str, Callable[[str, str], ModelRef]] = {
    "hf": _parse_hf,
    "ngc": _parse_ngc,
    "oci": _parse_oci,
    "ollama": _parse_ollama,
    "s3": _parse_s3,
    "https": _parse_web,
    "http": _parse_web,
    "file": _parse_file,
    "package": _parse_package,
}
