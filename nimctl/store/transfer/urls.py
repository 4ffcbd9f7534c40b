"""What of a URL goes into a request line. Pure."""

from urllib.parse import quote, urlsplit


def request_target(url: str) -> str:
    """Path and query as they stand in a request line."""
    parts = urlsplit(url)
    target = parts.path or "/"
    if parts.query:
        target += "?" + parts.query
    # Servers send raw blanks and UTF-8 in Location; what is escaped already stays as it is.
    return quote(target, safe="!#$%&'()*+,/:;=?@[]~")
