"""Logins whose user names are known and whose passwords are in the system's keyring."""

from collections.abc import Callable, Mapping

from nimctl.registries.oci.auth import Credentials
from nimctl.registries.oci.proofs import Login, Proof


class KeyringLogins:
    """Goes before `others`; `users` maps hosts to names, `secret_of` reads a host's password."""

    def __init__(
        self, users: Mapping[str, str], secret_of: Callable[[str], str], others: Credentials
    ) -> None:
        self._users = users
        self._secret_of = secret_of
        self._others = others

    def login(self, host: str, repository: str) -> Proof | None:
        """The login for a repository; None when there is none.

        Raises:
            UsageError: The keyring cannot be used, or a file of logins is malformed.
            NotFoundError: The keyring has lost the password.
            AuthError: A credential helper fails.
        """
        if host in self._users:
            return Login(self._users[host], self._secret_of(host))
        return self._others.login(host, repository)
