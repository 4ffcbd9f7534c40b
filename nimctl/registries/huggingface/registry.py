"""The Hugging Face Hub, or a mirror of it: metadata through `huggingface_hub`.

That library is imported when a reference is resolved: it takes longer than the rest of nimctl.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from nimctl import __version__
from nimctl.core.errors import AuthError, NetworkError, NimctlError, NotFoundError, UsageError
from nimctl.core.facts import Artifact, File
from nimctl.core.http import HttpOptions, origin, refusal
from nimctl.core.names import checked_digest, enumerated, near, safe_paths
from nimctl.core.ports import Location
from nimctl.core.refs import ModelRef
from nimctl.core.selection import selected
from nimctl.http import library_client
from nimctl.registries.huggingface.cache import Entry, HubCache, hub_file

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

_TOKEN = re.compile(r"[!-~]+")


class HuggingFaceRegistry:
    """Models on a Hub; `token` goes to `endpoint` only.

    Files in the user's `cache` are located there too.
    """

    def __init__(
        self,
        endpoint: str = "https://huggingface.co",
        token: str | None = None,
        cache: HubCache | None = None,
        http: HttpOptions | None = None,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._token = token
        self._cache = cache or HubCache(None)
        self._http = http or HttpOptions()

    def resolve(self, ref: ModelRef) -> Artifact:
        """Pin a repository's revision to a commit and list its files.

        Raises:
            NotFoundError: There is no such repository, revision or file, or none that this token
                may see.
            AuthError: The token is refused, or the repository is gated.
            NetworkError: The Hub cannot be reached, or answers nonsense.
            VerificationError: The Hub gives an unsafe file name or a malformed digest.
            UsageError: No repository can have that name.
        """
        if self._token is not None and not _TOKEN.fullmatch(self._token):
            raise AuthError("HF_TOKEN is no token: it has characters that no header can have")
        with self._api(ref) as api:
            commit, entries = _look_up(api, ref)
        chosen = selected(ref, entries)
        safe_paths(entry.path for entry in chosen)
        files = tuple(hub_file(self._endpoint, ref.path, commit, _entry(one)) for one in chosen)
        return Artifact(reference=str(ref), revision=commit, files=files)

    def locate(self, file: File) -> Location:
        """Say where a file is: on the Hub, and in the user's cache if it is there."""
        cached = self._cache.find(file)
        is_ours = origin(file.url) == origin(self._endpoint)
        headers = {"Authorization": f"Bearer {self._token}"} if self._token and is_ours else {}
        return Location(url=file.url, headers=headers, cached=cached.as_uri() if cached else None)

    @contextmanager
    def _api(self, ref: ModelRef) -> Iterator["HfApi"]:
        """Lend the library's client, and translate its failures."""
        import huggingface_hub as library  # noqa: PLC0415 - see the module's docstring
        from huggingface_hub import constants, errors  # noqa: PLC0415

        # Read by the library at each request: without it, requests say which agent runs them.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        # Its warnings would go to stderr, past nimctl's own words.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        library.set_client_factory(lambda: library_client(self._http))
        try:
            yield library.HfApi(
                endpoint=self._endpoint,
                token=self._token or False,
                library_name="nimctl",
                library_version=__version__,
            )
        except errors.HfHubHTTPError as error:
            answer = error.response
            headers = {name.lower(): value for name, value in answer.headers.items()}
            failure = self._refusal(ref.path, str(answer.url), answer.status_code, headers)
            raise failure or _nonsense(self._endpoint, error) from error
        except errors.HFValidationError as error:
            raise UsageError(f"{ref} names no repository", cause=str(error)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise _nonsense(self._endpoint, error) from error
        finally:
            library.close_session()

    def _refusal(
        self, repository: str, url: str, status: int, headers: Mapping[str, str]
    ) -> NimctlError | None:
        """Words for a status; what each means: https://huggingface.co/docs/hub/models-gated."""
        code = headers.get("x-error-code")
        if status < HTTPStatus.BAD_REQUEST:
            return None
        if code == "GatedRepo":
            return self._gated(repository)
        is_unseen = code == "RepoNotFound" or (
            status == HTTPStatus.UNAUTHORIZED and not self._token
        )
        if is_unseen:
            return NotFoundError(
                f"hf://{repository} does not exist, or it is private",
                cause="the token's account may not see it" if self._token else "no token is set",
                hint=f"check the name; for a private repository set HF_TOKEN to a token that may "
                f"read it ({self._endpoint}/settings/tokens)",
            )
        if status == HTTPStatus.UNAUTHORIZED:
            return AuthError(
                "the Hugging Face token is refused",
                cause=_said(headers),
                hint=f"make one at {self._endpoint}/settings/tokens and set HF_TOKEN to it",
            )
        if status == HTTPStatus.FORBIDDEN:
            return AuthError(
                f"the Hugging Face token may not read hf://{repository}",
                cause=_said(headers),
                hint=f"give it read access at {self._endpoint}/settings/tokens",
            )
        return refusal(url, status)

    def _gated(self, repository: str) -> AuthError:
        page = f"{self._endpoint}/{repository}"
        if self._token:
            return AuthError(
                f"hf://{repository} is gated",
                cause="the account of this token has not been granted access",
                hint=f"accept the licence at {page}, then run the command again",
            )
        return AuthError(
            f"hf://{repository} is gated",
            cause="no token is set, so that nobody knows who has accepted the licence",
            hint=f"accept the licence at {page}, then set HF_TOKEN "
            f"(make one at {self._endpoint}/settings/tokens)",
        )


def _entry(file: "RepoFile") -> Entry:
    return Entry(file.path, file.size, file.blob_id, file.lfs.sha256 if file.lfs else None)


def _look_up(api: "HfApi", ref: ModelRef) -> tuple[str, list["RepoFile"]]:
    """The commit that a revision means, and its files."""
    from huggingface_hub.errors import RevisionNotFoundError  # noqa: PLC0415
    from huggingface_hub.hf_api import RepoFile  # noqa: PLC0415

    try:
        info = api.model_info(ref.path, revision=ref.revision)
    except RevisionNotFoundError as error:
        raise _no_revision(api, ref) from error
    if info.gated:
        # Lists are public; only the files are not, which would show after the plan is made.
        api.auth_check(ref.path)
    commit = checked_digest("git-sha1", info.sha or "")
    tree = api.list_repo_tree(ref.path, recursive=True, revision=commit)
    return commit, [entry for entry in tree if isinstance(entry, RepoFile)]


def _no_revision(api: "HfApi", ref: ModelRef) -> NotFoundError:
    refs = api.list_repo_refs(ref.path)
    names = [one.name for one in (*refs.branches, *refs.tags)]
    return NotFoundError(
        f"hf://{ref.path} has no revision {ref.revision}",
        cause=near(ref.revision or "", names) or "there is " + enumerated(names),
        hint=f"nimctl pull hf://{ref.path}@{names[0]}" if names else None,
    )


def _nonsense(endpoint: str, error: Exception) -> NetworkError:
    return NetworkError(
        f"{endpoint} does not answer as a Hugging Face Hub does",
        cause=f"{type(error).__name__} while reading its answer",
        hint="check HF_ENDPOINT, and whether a proxy or a login page is in the way",
    )


def _said(headers: Mapping[str, str]) -> str | None:
    message = headers.get("x-error-message", "")
    return message if message and message.isprintable() else None
