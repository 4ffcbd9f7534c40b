"""AWS Signature Version 4 for requests without a body. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from nimctl.core.aws import AwsKey
from nimctl.core.http import origin

_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_BODY = hashlib.sha256(b"").hexdigest()


def signed_headers(
    method: str,
    url: str,
    key: AwsKey,
    *,
    region: str,
    at: datetime,
    headers: Mapping[str, str] | None = None,
    service: str = "s3",
) -> dict[str, str]:
    """The headers to send: those given, and those that sign them and the request.

    `url` is escaped as `escaped_path` and `escaped_query` do it, `at` is in UTC; Amazon takes a
    request for 15 minutes. Headers that are added later, such as a range, need no signature.
    """
    moment = f"{at:%Y%m%dT%H%M%SZ}"
    given = {name.lower(): value for name, value in (headers or {}).items()}
    sent = {**given, "x-amz-content-sha256": _NO_BODY, "x-amz-date": moment}
    if key.session_token:
        sent["x-amz-security-token"] = key.session_token
    signed = {**sent, "host": origin(url).authority}
    names = ";".join(sorted(signed))
    parts = urlsplit(url)
    canonical = "\n".join(
        (
            method,
            parts.path or "/",
            _sorted_query(parts.query),
            *(f"{name}:{' '.join(signed[name].split())}" for name in sorted(signed)),
            "",
            names,
            _NO_BODY,
        )
    )
    scope = f"{at:%Y%m%d}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = _signature(key, scope, f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}")
    credential = f"{key.access_key_id}/{scope}"
    sent["authorization"] = (
        f"{_ALGORITHM} Credential={credential},SignedHeaders={names},Signature={signature}"
    )
    return sent


def escaped_path(key: str) -> str:
    """An object's key as it stands in a path: all but the unreserved characters and slashes."""
    return quote(key, safe="/~")


def escaped_query(fields: Mapping[str, str]) -> str:
    """A query in the one order and spelling that is signed."""
    return urlencode(sorted(fields.items()), quote_via=quote, safe="~")


def _sorted_query(query: str) -> str:
    return escaped_query(dict(parse_qsl(query, keep_blank_values=True)))


def _signature(key: AwsKey, scope: str, text: str) -> str:
    secret = f"AWS4{key.secret_access_key}".encode()
    for part in scope.split("/"):
        secret = _hmac(secret, part)
    return _hmac(secret, text).hex()


def _hmac(secret: bytes, text: str) -> bytes:
    return hmac.digest(secret, text.encode(), "sha256")
