"""Words for what an S3-compatible store refuses. Pure."""

from http import HTTPStatus

from nimctl.core.aws import S3Site
from nimctl.core.errors import AuthError, NetworkError, NimctlError, NotFoundError
from nimctl.core.http import origin, redacted, status_line
from nimctl.http import Response
from nimctl.registries.s3.wire import Problem, read_problem

_LONGEST_QUOTE = 300
_KEY_HINT = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for one of `aws configure`"
)
_DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_WRONG_KEYS = {
    "InvalidAccessKeyId": "the store does not know the AWS access key",
    "SignatureDoesNotMatch": "the AWS secret key does not belong to its access key",
    "ExpiredToken": "the AWS session token has expired",
    "InvalidToken": "the AWS session token is refused",
}


def refusal(answer: Response, what: str, site: S3Site) -> NimctlError:
    """The error that an answer means which is no success; `what` is an `s3://` reference."""
    problem = read_problem(answer.body) or Problem("", "")
    said = f"{problem.code}: {problem.message}"[:_LONGEST_QUOTE] if problem.code else None
    host = origin(answer.url).host
    if problem.code in _WRONG_KEYS or answer.status in _DENIED:
        return _denial(problem, what, site, cause=said)
    if answer.status == HTTPStatus.NOT_FOUND and problem.code == "NoSuchBucket":
        return NotFoundError(
            f"there is no bucket {what.removeprefix('s3://').partition('/')[0]} at {host}",
            cause=said,
            hint="check the name, and AWS_ENDPOINT_URL if the store is not Amazon's",
        )
    if answer.status == HTTPStatus.NOT_FOUND:
        return NotFoundError(f"{what} does not exist", cause=said)
    return NetworkError(
        f"{host} answers {status_line(answer.status)} for {redacted(answer.url)}",
        cause=said,
        hint="check AWS_ENDPOINT_URL, and whether a proxy or a login page is in the way",
    )


def _denial(problem: Problem, what: str, site: S3Site, *, cause: str | None) -> AuthError:
    if problem.code in _WRONG_KEYS:
        return AuthError(_WRONG_KEYS[problem.code], cause=cause, hint=_KEY_HINT)
    if problem.code == "RequestTimeTooSkewed":
        return AuthError(
            "the store takes no requests from this machine: its clock is wrong",
            cause=cause,
            hint="set the clock: timedatectl set-ntp true",
        )
    if site.key is None:
        return AuthError(f"{what} is not open to everybody", cause=cause, hint=_KEY_HINT)
    return AuthError(
        f"these AWS keys may not read {what}",
        cause=cause,
        hint="they need s3:ListBucket on the bucket and s3:GetObject on its objects",
    )


def nonsense(answer: Response) -> NetworkError:
    """Say that an answer makes no sense."""
    return NetworkError(
        f"{origin(answer.url).host} does not answer as an S3-compatible store does",
        hint="check AWS_ENDPOINT_URL, and whether a proxy or a login page is in the way",
    )
