"""The files in which AWS's tools keep profiles: keys, regions, endpoints.

https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
"""

import configparser
from collections.abc import Mapping
from pathlib import Path

from nimctl.core.aws import DEFAULT_REGION, AwsKey, AwsSettings, S3Site
from nimctl.core.errors import NotFoundError, UsageError
from nimctl.core.names import near

_DEFAULT = "default"
# Ways to a key that need a browser, a program or another service.
_ELSEWHERE = ("sso_session", "sso_start_url", "credential_process", "role_arn", "login_session")


def read_site(settings: AwsSettings) -> S3Site:
    """Read where the store is and who asks; the environment goes before the files.

    Raises:
        UsageError: A file cannot be read, or the profile's key is not in it.
        NotFoundError: There is no profile of the name that is asked for.
    """
    keys = _read(Path(settings.credentials_file))
    rest = {
        name.removeprefix("profile "): values
        for name, values in _read(Path(settings.config_file)).items()
    }
    name = settings.profile or _DEFAULT
    if settings.profile and name not in keys and name not in rest:
        raise NotFoundError(
            f"there is no AWS profile {name}",
            cause=near(name, [*keys, *rest]),
            hint=f"look into {settings.credentials_file} and {settings.config_file}",
        )
    profile = {**rest.get(name, {}), **keys.get(name, {})}
    return S3Site(
        region=settings.region or profile.get("region") or DEFAULT_REGION,
        endpoint=(settings.endpoint or profile.get("endpoint_url") or "").rstrip("/") or None,
        key=settings.key or _key(name, profile),
    )


def _key(name: str, profile: Mapping[str, str]) -> AwsKey | None:
    access_key_id = profile.get("aws_access_key_id")
    secret = profile.get("aws_secret_access_key")
    if access_key_id and secret:
        return AwsKey(
            access_key_id=access_key_id,
            secret_access_key=secret,
            session_token=profile.get("aws_session_token"),
        )
    elsewhere = next((way for way in _ELSEWHERE if way in profile), None)
    if elsewhere:
        raise UsageError(
            f"the AWS profile {name} has no key, but {elsewhere}, which nimctl does not follow",
            hint=f'eval "$(aws configure export-credentials --profile {name} --format env)"',
        )
    return None


def _read(path: Path) -> dict[str, dict[str, str]]:
    # Keys may have percent signs; an interpolation would fail on them and quote them.
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read", cause=error.strerror) from error
    except (configparser.Error, UnicodeDecodeError) as error:
        # The error's text quotes lines, which may have a secret.
        raise UsageError(
            f"{path} is malformed", hint="make it again with `aws configure`"
        ) from error
    return {name: dict(parser[name]) for name in parser.sections()}
