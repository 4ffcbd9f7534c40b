"""Words for what NGC refuses."""

from http import HTTPStatus

from nimctl.core.errors import AuthError, NetworkError, NimctlError, NotFoundError
from nimctl.core.http import origin, redacted, status_line
from nimctl.http import Response
from nimctl.registries.ngc.endpoints import CATALOGUE, Model, Release
from nimctl.registries.ngc.wire import ErrorAnswer, decode

# https://docs.nvidia.com/rag/latest/api-key.html
KEYS_PAGE = "https://org.ngc.nvidia.com/setup/api-keys"
KEY_HINT = f"make a key at {KEYS_PAGE} and set NGC_API_KEY to it"
_LONGEST_QUOTE = 300


def refusal(response: Response, what: Model | Release, *, is_guest: bool) -> NimctlError:
    """The error that a status other than 200 means for a model or a version of it."""
    if response.status == HTTPStatus.NOT_FOUND:
        return not_found(response, what, is_guest=is_guest)
    denied = _denial(response, what, is_guest=is_guest)
    return denied or NetworkError(
        f"{origin(response.url).host} answers {status_line(response.status)} "
        f"for {redacted(response.url)}",
        cause=_said(response),
        hint="run the command again later",
    )


def lists_refused(response: Response, release: Release) -> NetworkError:
    """Say that NGC tells nobody of this account which files a version has."""
    return NetworkError(
        f"NGC does not list the files of ngc://{release}, which has no checksums.blake3 either",
        cause=_said(response) or status_line(response.status),
        hint=f"name the files: nimctl pull 'ngc://{release}?file=config.json&file=...'",
    )


def _denial(response: Response, what: Model | Release, *, is_guest: bool) -> AuthError | None:
    model = what.model if isinstance(what, Release) else what
    match response.status:
        case HTTPStatus.UNAUTHORIZED if is_guest:
            message, hint = f"ngc://{what} needs a key", KEY_HINT
        case HTTPStatus.UNAUTHORIZED:
            message, hint = "the NGC key is refused", KEY_HINT
        case HTTPStatus.PAYMENT_REQUIRED:
            message = f"this account has no entitlement to ngc://{what}"
            hint = f"see {model.page} for the subscription or programme that includes it"
        case HTTPStatus.FORBIDDEN:
            message = f"this account may not read ngc://{what}"
            hint = (
                KEY_HINT
                if is_guest
                else (
                    f"check at {KEYS_PAGE} that the key includes the service NGC Catalog, "
                    f"and that its owner is a member of {model.org}"
                )
            )
        case HTTPStatus.PRECONDITION_FAILED:
            message = f"the licence of ngc://{what} is not accepted"
            hint = f"accept it at {_page(what)}, then run the command again"
            hint += f"; guests cannot: {KEY_HINT}" if is_guest else ""
        case _:
            return None
    return AuthError(message, cause=_said(response), hint=hint)


def not_found(
    response: Response, what: Model | Release, *, is_guest: bool, others: str | None = None
) -> NotFoundError:
    """Say that something does not exist, or not for this account; `others` names what does."""
    cause = "; ".join(part for part in (others, _said(response)) if part) or None
    if isinstance(what, Release):
        hint = f"nimctl versions ngc://{what.model}"
        return NotFoundError(f"ngc://{what} does not exist", cause=cause, hint=hint)
    hint = f"for a private model, {KEY_HINT}" if is_guest else f"look for it at {CATALOGUE}"
    return NotFoundError(f"ngc://{what} does not exist, or it is private", cause=cause, hint=hint)


def _page(what: Model | Release) -> str:
    return f"{what.model.page}?version={what.version}" if isinstance(what, Release) else what.page


def _said(response: Response) -> str | None:
    """What the server says about a failure, with the id that its operators search by."""
    words = [_quotable(_description(response))]
    request_id = _quotable(response.headers.get("nv-request-id"))
    if request_id:
        words.append(f"nv-request-id {request_id}")
    return ", ".join(word for word in words if word) or None


def _description(response: Response) -> str | None:
    try:
        answer = decode(response, ErrorAnswer)
    except NetworkError:
        return None  # an HTML page, or nothing
    status = answer.request_status
    return (status and status.status_description) or answer.detail or answer.message


def _quotable(text: str | None) -> str | None:
    return text[:_LONGEST_QUOTE] if text and text.isprintable() else None
