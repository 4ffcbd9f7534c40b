"""The keyring of the system, for tokens that are to lie in no file: the extra `keyring`.

That library is imported when a token is needed: it takes longer than the rest of nimctl.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nimctl.core.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

_SERVICE = "nimctl"


def keep(name: str, secret: str) -> None:
    """Put a secret into the keyring.

    Raises:
        UsageError: The extra is not installed, or there is no keyring that works.
    """
    with _keyring() as keyring:
        keyring.set_password(_SERVICE, name, secret)


def read(name: str) -> str:
    """A secret from the keyring.

    Raises:
        NotFoundError: It is not there any more.
        UsageError: As for `keep`.
    """
    with _keyring() as keyring:
        secret: str | None = keyring.get_password(_SERVICE, name)
    if secret is None:
        raise NotFoundError(
            f"the keyring has nothing for {name}", hint=f"nimctl login {name} --keyring"
        )
    return secret


def forget(name: str) -> None:
    """Remove a secret, if it is there.

    Raises:
        UsageError: As for `keep`.
    """
    with _keyring() as keyring:
        if keyring.get_password(_SERVICE, name) is not None:
            keyring.delete_password(_SERVICE, name)


@contextmanager
def _keyring() -> Iterator["ModuleType"]:
    try:
        import keyring  # noqa: PLC0415 - see the module's docstring
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageError(
            "the system's keyring needs the extra `keyring`",
            cause="it is not installed",
            hint="pip install 'nimctl[keyring]'",
        ) from error
    try:
        yield keyring
    except KeyringError as error:
        raise UsageError(
            "the keyring of this system cannot be used",
            cause=str(error).partition("\n")[0] or type(error).__name__,
            hint="nimctl login without --keyring keeps secrets in a file that only you can read",
        ) from error
