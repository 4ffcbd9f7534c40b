"""One file at an `https://` or `http://` URL."""

import re
from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from nimctl.core.facts import Artifact, DigestAlgorithm, File
from nimctl.core.names import safe_name
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef
from nimctl.http import Client, Response

# What servers say that know GET only: presigned URLs are signed for one method and answer 403.
_HEAD_REFUSED = (403, 405, 501)
_RANGE_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")


class WebRegistry:
    """Any web server; the digest is the one that the reference gives, if any."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def resolve(self, ref: ModelRef) -> Artifact:
        """Ask the server for the file's name and size, as far as it tells.

        Raises:
            NotFoundError: There is no such file.
            AuthError: The server wants credentials.
            NetworkError: It cannot be reached, or answers nonsense.
            VerificationError: The file's name is unsafe.
        """
        url = f"{ref.scheme}://{ref.path}"
        answer = described(self._client, url)
        digests: dict[DigestAlgorithm, str] = {"sha256": ref.sha256} if ref.sha256 else {}
        file = File(
            path=safe_name(_offered_name(answer) or _url_name(url)),
            url=url,
            size=stated_size(answer),
            etag=answer.headers.get("etag") or answer.headers.get("last-modified"),
            digests=digests,
        )
        return Artifact(reference=str(ref), files=(file,))

    def locate(self, file: File) -> Location:
        """Say where the file is: where it was."""
        return Location(url=file.url)


def described(client: Client, url: str) -> Response:
    """What a server says about a file, without the file.

    Raises:
        NotFoundError: There is no such file.
        AuthError: The server wants credentials.
        NetworkError: It cannot be reached, or answers nonsense.
    """
    answer = client.head(url)
    if answer.status in _HEAD_REFUSED:
        answer = client.peek(url)
    return answer if _is_empty(answer) else answer.raise_for_status()


def stated_size(answer: Response) -> int | None:
    """The file's size in bytes, if the answer has it."""
    total = _RANGE_TOTAL.fullmatch(answer.headers.get("content-range", ""))
    if total:
        return int(total[1])
    length = answer.headers.get("content-length", "")
    is_whole = answer.status == 200 and "content-encoding" not in answer.headers  # noqa: PLR2004
    return int(length) if is_whole and length.isdecimal() else None


def _offered_name(answer: Response) -> str | None:
    """The file name in `Content-Disposition` (RFC 6266)."""
    header = answer.headers.get("content-disposition")
    if not header:
        return None
    message = Message()
    message["Content-Disposition"] = header
    return message.get_filename()


def _url_name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name


def _is_empty(answer: Response) -> bool:
    """Whether no byte could be had because there is none."""
    return answer.status == 416 and stated_size(answer) == 0  # noqa: PLR2004 - HTTP's own numbers
