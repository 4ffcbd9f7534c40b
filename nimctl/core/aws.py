"""What is known of an S3-compatible store: where it is, and who asks it."""

from nimctl.core.value import Value

DEFAULT_REGION = "us-east-1"


class AwsKey(Value):
    """An access key; `session_token` comes with those that last for hours."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"AwsKey(access_key_id={self.access_key_id!r})"


class AwsSettings(Value):
    """What the environment says, in the terms of AWS's own tools.

    https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html. `profile` is the one
    that is asked for, if any.
    """

    key: AwsKey | None = None
    profile: str | None = None
    region: str | None = None
    endpoint: str | None = None
    credentials_file: str
    config_file: str


class S3Site(Value):
    """A store; without `endpoint` it is Amazon's, without `key` everybody's."""

    region: str = DEFAULT_REGION
    endpoint: str | None = None
    key: AwsKey | None = None
