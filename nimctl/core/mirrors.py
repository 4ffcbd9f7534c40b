"""How models lie in a mirror: what stands there for a file of a registry.

In a bucket, a file's key is its whole NIM URI without the scheme, escaped, as NIM itself wants it:
https://docs.nvidia.com/nim/large-language-models/latest/nim-repository-override.html names that
form for `ngc://`; that it is the same for `hf://` is inferred. On a web server or a disk, files lie
in directories, `SCHEME/MODEL/REVISION/FILE`, and each of these has a list `SHA256SUMS`; the form is
nimctl's own.
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from nimctl.core.errors import UsageError
from nimctl.core.http import is_this_machine, redacted

CHECKSUMS = "SHA256SUMS"
DEFAULT_REVISIONS = {"hf": "main", "ngc": "latest"}
_FILE = "?file="
_SOURCES = (
    ("hf", re.compile(r"(?:.*/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")),
    (
        "ngc",
        re.compile(r".*/v2/org/([^/]+(?:/team/[^/]+)?/models/[^/]+)/versions/([^/]+)/files/(.+)"),
    ),
)


def checked_mirror(url: str) -> str:
    """The URL of a mirror.

    Raises:
        UsageError: It is none that nimctl can read, or not encrypted.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    is_remote = parts.scheme in ("s3", "https") or (
        parts.scheme == "http" and is_this_machine(host or "")
    )
    if (is_remote and host) or (parts.scheme == "file" and parts.path.startswith("/")):
        return url
    if parts.scheme == "jfrog":
        raise UsageError(
            f"the mirror {redacted(url)} is not one that nimctl can read",
            hint="set NGC_API_ENDPOINT and NGC_AUTH_ENDPOINT to HOST/artifactory/api/nimmodel/REPO",
        )
    if parts.scheme == "http":
        raise UsageError(f"the mirror {redacted(url)} is not encrypted", hint="https://HOST/PATH/")
    raise UsageError(
        f"`{redacted(url)}` is no mirror",
        hint="s3://BUCKET/PREFIX/, https://HOST/PATH/ or file:///PATH/",
    )


class Source(NamedTuple):
    """A file of a model at a revision."""

    model: str
    revision: str
    path: str


def key_prefix(model: str) -> str:
    """What the keys of all files of a model begin with."""
    return _escaped(f"{model}:")


def key_of(source: Source) -> str:
    """The key of a file in a bucket."""
    return _escaped(f"{source.model}:{source.revision}{_FILE}{source.path}")


def source_of_key(model: str, key: str) -> Source | None:
    """What a key stands for; None if it is none of that model's."""
    revision, file, path = unquote(key).removeprefix(f"{model}:").partition(_FILE)
    return Source(model, revision, path) if file and revision and path else None


def tree_path(scheme: str, model: str, revision: str, path: str) -> str:
    """Where a file lies below a mirror's root, escaped for a URL."""
    return quote(f"{scheme}/{model}/{revision}/{path}")


def source_of_url(scheme: str, url: str) -> Source | None:
    """What a file's URL at its registry stands for; None if it is no such URL."""
    path = urlsplit(url).path
    found = next((form.fullmatch(path) for name, form in _SOURCES if name == scheme), None)
    if found is None:
        return None
    model, revision, file = (unquote(part) for part in found.groups())
    if scheme == "ngc":
        model = model.replace("/team/", "/").replace("/models/", "/")
    return Source(model, revision, file)


def _escaped(uri: str) -> str:
    return quote(uri, safe="")
