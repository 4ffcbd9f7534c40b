"""moto, a server of the S3 API, as a real process on loopback, filled by the real boto3.

https://docs.getmoto.org/en/latest/docs/server_mode.html. It computes signatures with botocore and
refuses wrong ones once `check_signatures` has been called.
"""

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from nimctl.core.aws import AwsKey

_DRIVER = Path(__file__).parent / "boto_driver.py"
_START_TIMEOUT_S = 30
_PAGE_SIZE = "3"
_ANYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
_ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}


class Call(NamedTuple):
    """A call of boto3: service, method and its arguments."""

    service: str
    method: str
    arguments: Mapping[str, Any]


class S3Server:
    """The process; a context manager. `key` may do anything, `session` is one that expires."""

    def __init__(self) -> None:
        self._python = os.environ.get("NIMCTL_TEST_MOTO_PYTHON", sys.executable)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"

    def __enter__(self) -> Self:
        found = subprocess.run(
            [self._python, "-c", "import moto, flask, boto3"], capture_output=True, check=False
        )
        if found.returncode:
            pytest.skip(
                "pip install 'moto[s3]==5.2.5' flask flask-cors, or set NIMCTL_TEST_MOTO_PYTHON to "
                "the interpreter of an environment that has them"
            )
        port = self.url.rpartition(":")[2]
        self._process = subprocess.Popen(
            [self._python, "-m", "moto.server", "-H", "127.0.0.1", "-p", port],
            env={"PATH": os.environ["PATH"], "MOTO_S3_DEFAULT_MAX_KEYS": _PAGE_SIZE},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.__exit__()
                raise RuntimeError("moto did not start")
            time.sleep(0.05)
        self.key, self.session = self._make_keys()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def boto3(self, *calls: Call, key: AwsKey | None = None) -> list[Any]:
        """The results of calls by the real client, with any key as long as none is checked."""
        environ = {
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": key.access_key_id if key else "anybody",
            "AWS_SECRET_ACCESS_KEY": key.secret_access_key if key else "anything",
        }
        done = subprocess.run(
            [self._python, str(_DRIVER), self.url],
            env=environ,
            input=json.dumps(calls),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done
        results: list[Any] = json.loads(done.stdout)
        return results

    def fill(self, bucket: str, objects: Mapping[str, bytes], **more: Any) -> None:
        """Make a bucket, with objects by key; `more` are arguments of `put_object`."""
        puts = (
            Call("s3", "put_object", {"Bucket": bucket, "Key": key, "Body": _body(data), **more})
            for key, data in objects.items()
        )
        self.boto3(Call("s3", "create_bucket", {"Bucket": bucket}), *puts)

    def objects(self, bucket: str, keys: list[str], key: AwsKey) -> dict[str, bytes]:
        """What boto3 downloads."""
        calls = [Call("s3", "get_object", {"Bucket": bucket, "Key": one}) for one in keys]
        answers = self.boto3(*calls, key=key)
        return {
            one: base64.b64decode(answer["Body"]) for one, answer in zip(keys, answers, strict=True)
        }

    def check_signatures(self, *, really: bool) -> None:
        """Refuse from now on what is not signed rightly, or take anything."""
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth",
            data=b"0" if really else b"inf",
            headers={"Content-Type": "text/plain"},
        )
        urllib.request.urlopen(request).close()

    def _answers(self) -> bool:
        with contextlib.suppress(urllib.error.URLError):
            urllib.request.urlopen(f"{self.url}/moto-api/").close()
            return True
        return False

    def _make_keys(self) -> tuple[AwsKey, AwsKey]:
        anything = json.dumps(_ANYTHING)
        role = {"RoleName": "reader", "AssumeRolePolicyDocument": json.dumps(_ANYBODY)}
        policy = {"PolicyName": "all", "PolicyDocument": anything}
        arn = "arn:aws:iam::123456789012:role/reader"
        *_, made, assumed = self.boto3(
            Call("iam", "create_user", {"UserName": "ada"}),
            Call("iam", "put_user_policy", {"UserName": "ada", **policy}),
            Call("iam", "create_role", role),
            Call("iam", "put_role_policy", {"RoleName": "reader", **policy}),
            Call("iam", "create_access_key", {"UserName": "ada"}),
            Call("sts", "assume_role", {"RoleArn": arn, "RoleSessionName": "tests"}),
        )
        lasting, passing = made["AccessKey"], assumed["Credentials"]
        return _key(lasting), _key(passing)


def _key(given: Mapping[str, str]) -> AwsKey:
    return AwsKey(
        access_key_id=given["AccessKeyId"],
        secret_access_key=given["SecretAccessKey"],
        session_token=given.get("SessionToken"),
    )


def _body(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}
