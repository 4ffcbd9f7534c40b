"""The files of a version, by the ways that NGC has of listing them."""

import base64
import binascii
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from http import HTTPStatus
from itertools import zip_longest

import msgspec

from nimctl.core.checksums import read_checksums
from nimctl.core.errors import NotFoundError, VerificationError
from nimctl.core.facts import DigestAlgorithm, File
from nimctl.core.names import checked_digest
from nimctl.http import Response
from nimctl.registries.ngc.api import Api
from nimctl.registries.ngc.endpoints import Release, file_url
from nimctl.registries.ngc.failures import lists_refused
from nimctl.registries.ngc.wire import FilesPage, ModelFile, nonsense

# Public organisations such as `nim` may refuse the list to members of others:
# https://github.com/ai-dynamo/modelexpress/issues/222
REFUSED_LISTS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
)
CHECKSUMS = "checksums.blake3"


def list_files(api: Api, release: Release, named: Sequence[str] = ()) -> tuple[File, ...]:
    """All files of a version; where NGC does not list them, those that are `named` too.

    Raises:
        AuthError: NGC refuses access, or its licence is not accepted.
        NotFoundError: The version has no files.
        NetworkError: The API cannot be reached, or answers nonsense.
        VerificationError: It gives a malformed digest.
    """
    first = api.ask(api.at.files(release), release)
    if first.status in REFUSED_LISTS:
        files = _from_checksums(api, release, first, named)
    else:
        pages = api.pages(first, partial(api.at.files, release), release, FilesPage)
        listed = tuple(_file(api, release, entry) for page in pages for entry in _entries(page))
        files = _with_checksums(api, release, listed)
    if not files:
        raise NotFoundError(f"ngc://{release} has no files")
    return files


def _entries(page: FilesPage) -> Iterator[ModelFile]:
    if page.model_files:
        yield from page.model_files
        return
    for path, digest in zip_longest(page.filepath or (), page.sha256_base64 or ()):
        if path is not None:
            yield ModelFile(path=path, sha256_base64=digest)


def _file(api: Api, release: Release, entry: ModelFile) -> File:
    sha256 = _hex(entry.sha256_base64) if entry.sha256_base64 else None
    digests: dict[DigestAlgorithm, str] = {"sha256": sha256} if sha256 else {}
    return File(
        path=entry.path,
        url=file_url(api.url, release, entry.path),
        size=entry.size_in_bytes,
        etag=sha256,
        digests=digests,
    )


def _from_checksums(
    api: Api, release: Release, refused: Response, named: Sequence[str]
) -> tuple[File, ...]:
    """The files that NIM's own list of blake3 digests names, that list, and what is `named`."""
    answer = api.ask(api.at.file(release, CHECKSUMS), release)
    listed: dict[str, File] = {}
    if answer.status == HTTPStatus.OK:
        for path, digest in _checksums(answer).items():
            url = file_url(api.url, release, path)
            listed[path] = File(path=path, url=url, digests={"blake3": digest})
        listed[CHECKSUMS] = File(
            path=CHECKSUMS,
            url=file_url(api.url, release, CHECKSUMS),
            size=len(answer.body),
            digests=_own_digests(answer),
        )
    elif not named and refused.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED):
        raise lists_refused(refused, release)
    elif not named:
        api.accept(refused, release)
    # Whether such a file is there shows when it is fetched.
    unlisted = (
        File(path=path, url=file_url(api.url, release, path))
        for path in named
        if path not in listed
    )
    return (*listed.values(), *unlisted)


def _with_checksums(api: Api, release: Release, files: tuple[File, ...]) -> tuple[File, ...]:
    """The files, with digests from NIM's own list where NGC gives none and there is that list."""
    unknown = {file.path for file in files if not file.digests}
    if not unknown - {CHECKSUMS} or all(file.path != CHECKSUMS for file in files):
        return files
    answer = api.accept(api.ask(api.at.file(release, CHECKSUMS), release), release)
    stated: dict[str, dict[DigestAlgorithm, str]] = {
        path: {"blake3": digest} for path, digest in _checksums(answer).items()
    }
    stated[CHECKSUMS] = _own_digests(answer)
    return tuple(
        msgspec.structs.replace(file, digests=stated[file.path])
        if file.path in unknown & stated.keys()
        else file
        for file in files
    )


def _own_digests(answer: Response) -> dict[DigestAlgorithm, str]:
    """Those of the list itself, which nobody states: what is fetched has to be what was read."""
    return {"sha256": hashlib.sha256(answer.body).hexdigest()}


def _checksums(answer: Response) -> dict[str, str]:
    """Path to blake3 in hex."""
    stated = read_checksums(answer.body)
    if stated is None:
        raise nonsense(answer)
    return stated


def _hex(text: str) -> str:
    try:
        return checked_digest("sha256", base64.b64decode(text, validate=True).hex())
    except binascii.Error as error:
        raise VerificationError(f"NGC gives {text!r}, which is no sha256 in base64") from error
