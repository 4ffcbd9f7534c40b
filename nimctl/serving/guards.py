"""What guards a server, as the user gave it: looked at before anything is started for it."""

from pathlib import Path

from nimctl.core.errors import UsageError


def check_keys(path: Path) -> None:
    """See whether there is a key in a file of API keys, without which nobody could ask.

    Raises:
        UsageError: There is not, or it cannot be read.
    """
    try:
        there = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise UsageError(f"the key file {path} cannot be read", cause=reason) from error
    if not there:
        raise UsageError(
            f"the key file {path} holds no key",
            cause="with it nobody could ask the server anything",
            hint="one key a line; without --api-key-file nimctl makes one, or --no-auth",
        )


def check_certificate(path: Path) -> None:
    """See whether a PEM file has a certificate and the key that belongs to it.

    Raises:
        UsageError: It has not.
    """
    import ssl  # noqa: PLC0415 - few servers have a certificate

    try:
        # A key that is encrypted would be asked for at the terminal, by HAProxy too.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=_nobody)
    except (OSError, _EncryptedError) as error:
        raise UsageError(
            f"{path} is no certificate for a server",
            cause=f"it needs a certificate and its key, which is not encrypted{_reason(error)}",
            hint="cat fullchain.pem privkey.pem > both.pem",
        ) from error


class _EncryptedError(Exception):
    """Somebody would have to say a password."""


def _nobody() -> str:
    raise _EncryptedError


def _reason(error: Exception) -> str:
    """What OpenSSL or the system says of it, where that are words."""
    said = getattr(error, "reason", None) or getattr(error, "strerror", None) or ""
    words = str(said).lower().replace("_", " ")
    return f": {words}" if words and not words.startswith("[") else ""
