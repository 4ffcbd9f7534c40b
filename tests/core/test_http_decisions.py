"""What is shown of a URL, who sees credentials, where redirects lead, what a status means."""

from datetime import UTC, datetime

import pytest

from nimctl.core.errors import AuthError, NetworkError, NimctlError, NotFoundError, UsageError
from nimctl.core.http import (
    is_signed,
    origin,
    proxy_for,
    redacted,
    redirected,
    refusal,
    retry_after_s,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/p?revision=a&n=1", "https://h/p?revision=a&n=..."),
        ("https://me:pw@h:1/p?X-Amz-Signature=abc#frag", "https://h:1/p?X-Amz-Signature=..."),
        ("https://h/p?flag", "https://h/p?..."),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_a_shown_url_has_no_secret(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://H/x") == origin("https://h:443/y") != origin("https://h:444/")
    assert origin("http://h/") != origin("https://h/")


def test_a_redirect_never_gives_up_encryption() -> None:
    assert redirected("http://a/x/y", "../z") == "http://a/z"
    assert redirected("http://a/", "https://b/") == "https://b/"
    for location in ("http://a/", "//b:x/", "file:///etc/passwd", "data:,x"):
        with pytest.raises(NetworkError):
            redirected("https://a/", location)


@pytest.mark.parametrize(
    ("url", "no", "proxied"),
    [
        ("https://hub.example/", "", True),
        ("https://hub.example/", "hub.example", False),
        ("https://hub.example/", "other.example, .example", False),
        ("https://hub.example/", "ub.example", True),
        ("https://hub.example/", "*", False),
        ("https://hub.example:444/", "hub.example:444", False),
        ("https://hub.example/", "hub.example:444", True),
        ("https://10.1.2.3/", "10.0.0.0/8", False),
        ("https://11.1.2.3/", "10.0.0.0/8", True),
        ("https://[::1]/", "::1", False),
        ("http://hub.example/", "", False),
    ],
)
def test_a_proxy_serves_its_scheme_and_the_hosts_that_are_not_exempt(
    url: str, no: str, *, proxied: bool
) -> None:
    proxy = proxy_for(origin(url), {"https": "proxy:3128", "no": no})
    assert proxy == ("http://proxy:3128" if proxied else None)


def test_a_proxy_for_all_schemes_serves_each_and_must_be_an_http_proxy() -> None:
    assert proxy_for(origin("http://h/"), {"all": "http://p:1"}) == "http://p:1"
    with pytest.raises(UsageError) as caught:
        proxy_for(origin("http://h/"), {"all": "socks5://me:pw@p:1"})
    assert "pw" not in caught.value.message


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("12", 12.0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthError),
        (403, AuthError),
        (404, NotFoundError),
        (410, NotFoundError),
        (418, NetworkError),
        (599, NetworkError),
        (304, NetworkError),
    ],
)
def test_a_status_becomes_an_error_with_the_url_but_no_secret(
    status: int, kind: type[NimctlError]
) -> None:
    error = refusal("https://h/p?sig=s3cret", status)
    assert type(error) is kind
    assert "https://h/p" in error.message
    assert "s3cret" not in error.message
    assert refusal("https://h/p", 206) is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", False),
        ("?download=true&id=5", False),
        ("?X-Amz-Expires=5&X-Amz-Signature=ab", True),
        ("?Expires=5&Signature=ab&Key-Pair-Id=c#sha256=00", True),
        ("?sv=2024&sig=ab", True),
        ("#?sig=1", False),
    ],
)
def test_a_signed_url_is_known_by_its_signature(query: str, expected: bool) -> None:  # noqa: FBT001
    assert is_signed(f"https://host/m.gguf{query}") is expected
