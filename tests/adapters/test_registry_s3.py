"""Buckets: signatures, lists, digests and refusals, against moto with boto3 as the other client."""

import base64
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from faulty_server import Handler, Server, Site
from s3_server import S3Server

from nimctl.core.aws import AwsKey, AwsSettings, S3Site
from nimctl.core.errors import AuthError, NetworkError, NimctlError, NotFoundError, UsageError
from nimctl.core.http import HttpOptions
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.s3 import Bucket, Buckets, S3Registry, read_site
from nimctl.registries.s3.signing import signed_headers
from nimctl.registries.s3.wire import read_listing

# The keys of AWS's own examples.
EXAMPLE = AwsKey(
    access_key_id="AKIAIOSFODNN7EXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # noqa: S106 - published
)
MODEL = {
    "llama/config.json": b"{}",
    "llama/model.safetensors": bytes(range(256)) * 40,
    "llama/sub/a b+c%2F ü.txt": b"strange",
    "llama/empty": b"",
    "llama/": b"",
    "llama-2/config.json": b"[]",
}
NAMES = {key.removeprefix("llama/") for key in MODEL if key.startswith("llama/")} - {""}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        server.fill("models", MODEL)
        server.fill("hashed", {"model.gguf": b"GGUF"}, ChecksumAlgorithm="SHA256")
        server.fill("public", {"open.txt": b"for all"}, ACL="public-read")
        yield server


@pytest.fixture
def checked(server: S3Server) -> Iterator[S3Server]:
    """The server while it refuses what is not signed rightly."""
    server.check_signatures(really=True)
    yield server
    server.check_signatures(really=False)


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(HttpOptions(attempts=1)) as client:
        yield client


def registry(client: Client, server: S3Server, key: AwsKey | None = None) -> S3Registry:
    return S3Registry(Buckets(client, S3Site(endpoint=server.url, key=key)))


def failure(registry: S3Registry, text: str) -> NimctlError:
    with pytest.raises(NimctlError) as caught:
        registry.resolve(ModelRef.parse(text))
    return caught.value


@pytest.mark.parametrize(
    ("target", "headers", "signature"),
    [
        (
            "test.txt",
            {"Range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "?lifecycle",
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "?max-keys=2&prefix=J",
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_amazon_s_examples(
    target: str, headers: dict[str, str], signature: str
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    sent = signed_headers(
        "GET",
        f"https://examplebucket.s3.amazonaws.com/{target}",
        EXAMPLE,
        region="us-east-1",
        at=datetime(2013, 5, 24, tzinfo=UTC),
        headers=headers,
    )
    assert sent["authorization"].endswith(f"Signature={signature}")


def test_a_secret_does_not_show() -> None:
    key = msgspec.structs.replace(EXAMPLE, session_token="token")  # noqa: S106 - no password
    settings = AwsSettings(key=key, credentials_file="/c", config_file="/d")
    for text in (repr(key), repr(settings), repr(S3Site(key=key))):
        assert "wJalr" not in text
        assert "token" not in text.replace("session_token", "")


@pytest.mark.parametrize("which", ["key", "session"])
def test_all_objects_under_a_prefix_come_with_what_the_store_knows_of_them(
    checked: S3Server, client: Client, which: str
) -> None:
    key: AwsKey = getattr(checked, which)
    artifact = registry(client, checked, key).resolve(ModelRef.parse("s3://models/llama"))
    assert {file.path for file in artifact.files} == NAMES
    by_path = {file.path: file for file in artifact.files}
    weights = by_path["model.safetensors"]
    assert weights.size == len(MODEL["llama/model.safetensors"])
    assert weights.etag
    assert by_path["sub/a b+c%2F ü.txt"].url == (
        "s3://models/llama/sub/a%20b%2Bc%252F%20%C3%BC.txt"
    )


def test_what_is_located_is_what_boto3_downloads(checked: S3Server, client: Client) -> None:
    one = registry(client, checked, checked.key)
    files = one.resolve(ModelRef.parse("s3://models/llama")).files
    got = {}
    for file in files:
        location = one.locate(file)
        got[unquote(urlsplit(file.url).path[1:])] = client.get(location.url, location.headers).body
    assert got == checked.objects("models", list(got), checked.key)
    assert got == {key: MODEL[key] for key in got}


def test_globs_narrow_what_is_under_a_prefix(server: S3Server, client: Client) -> None:
    ref = ModelRef.parse("s3://models/llama?include=*.json,*.txt&exclude=sub/*")
    artifact = registry(client, server, server.key).resolve(ref)
    assert [file.path for file in artifact.files] == ["config.json"]


def test_a_sha256_that_the_store_keeps_is_the_file_s(server: S3Server, client: Client) -> None:
    for text in ("s3://hashed", "s3://hashed/model.gguf"):
        [file] = registry(client, server, server.key).resolve(ModelRef.parse(text)).files
        assert (file.path, file.sha256) == ("model.gguf", hashlib.sha256(b"GGUF").hexdigest())


def test_an_object_that_is_open_to_all_needs_no_key(server: S3Server, client: Client) -> None:
    one = registry(client, server)
    [file] = one.resolve(ModelRef.parse("s3://public/open.txt")).files
    location = one.locate(file)
    assert "authorization" not in {name.lower() for name in location.headers}
    assert client.get(location.url, location.headers).body == b"for all"


@pytest.mark.parametrize(
    ("access_key_id", "secret", "says"),
    [
        (None, "wrong", "does not belong to its access key"),
        ("AKIAUNKNOWN", "wrong", "does not know the AWS access key"),
    ],
)
def test_wrong_keys_are_told_apart(
    checked: S3Server, client: Client, access_key_id: str | None, secret: str, says: str
) -> None:
    key = AwsKey(access_key_id=access_key_id or checked.key.access_key_id, secret_access_key=secret)
    error = failure(registry(client, checked, key), "s3://models/llama")
    assert isinstance(error, AuthError)
    assert says in error.message
    assert secret not in f"{error.cause}{error.hint}"


def test_what_is_not_there_is_named(server: S3Server, client: Client) -> None:
    one = registry(client, server, server.key)
    for text, says in (
        ("s3://models/mistral", "s3://models/mistral has no objects"),
        ("s3://nobody/x", "there is no bucket nobody"),
    ):
        error = failure(one, text)
        assert isinstance(error, NotFoundError)
        assert says in error.message


class _Store(Site):
    """A stand-in for what moto does not do: regions, clocks, nonsense."""

    region = "eu-central-1"
    body = b""
    status = 200


class _StoreHandler(Handler[_Store]):
    name = "store"

    def answer_request(self) -> None:
        site = self.server.site
        if f"/{site.region}/s3/" not in self.headers.get("Authorization", ""):
            self.answer(400, {"x-amz-bucket-region": site.region}, b"")
        else:
            self.answer(site.status, {}, site.body)


@pytest.fixture
def store() -> Iterator[tuple[_Store, str]]:
    site = _Store()
    server = Server(site, _StoreHandler)
    server.start()
    yield site, server.url
    server.stop()


def bucket(client: Client, url: str) -> Bucket:
    return Bucket(client, "models", S3Site(endpoint=url, key=EXAMPLE))


def test_a_bucket_of_another_region_is_asked_there(
    store: tuple[_Store, str], client: Client
) -> None:
    site, url = store
    site.body = b"x"
    one = bucket(client, url)
    assert one.read("key") == b"x"
    assert one.read("key") == b"x"
    assert len(site.seen) == 3
    assert "/eu-central-1/" in one.location("key").headers["authorization"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (
            403,
            b"<Error><Code>RequestTimeTooSkewed</Code><Message>m</Message></Error>",
            AuthError,
            "clock is wrong",
        ),
        (
            403,
            b"<Error><Code>ExpiredToken</Code><Message>m</Message></Error>",
            AuthError,
            "has expired",
        ),
        (403, b"<Error><Code>AccessDenied</Code></Error>", AuthError, "may not read s3://models/"),
        (200, b"<html>please log in</html>", NetworkError, "does not answer as an S3-compatible"),
        (200, b"<html>", NetworkError, "does not answer as an S3-compatible"),
        (418, b"<Error><Code>\x1b[2J</Code></Error>", NetworkError, "418"),
    ],
)
def test_answers_that_are_no_list_are_told_apart(
    store: tuple[_Store, str],
    client: Client,
    status: int,
    body: bytes,
    kind: type[NimctlError],
    says: str,
) -> None:
    site, url = store
    site.status, site.body = status, body
    with pytest.raises(kind) as caught:
        list(bucket(client, url).list(""))
    assert says in caught.value.message
    assert "\x1b" not in str(caught.value.cause)


def test_a_checksum_of_checksums_is_no_digest(store: tuple[_Store, str], client: Client) -> None:
    class Composite(_StoreHandler):
        def answer_request(self) -> None:
            digest = base64.b64encode(bytes(32)).decode()
            self.answer(200, {"x-amz-checksum-sha256": f"{digest}-2"}, b"")

    server = Server(store[0], Composite)
    server.start()
    try:
        described = bucket(client, server.url).describe("key")
    finally:
        server.stop()
    assert described
    assert described.sha256 is None


@pytest.mark.parametrize(
    ("region", "name", "url"),
    [
        ("us-east-1", "models", "https://models.s3.us-east-1.amazonaws.com/a%20b"),
        ("us-east-1", "my.models", "https://s3.us-east-1.amazonaws.com/my.models/a%20b"),
        ("us-east-1", "nim_bucket", "https://s3.us-east-1.amazonaws.com/nim_bucket/a%20b"),
        ("cn-north-1", "models", "https://models.s3.cn-north-1.amazonaws.com.cn/a%20b"),
    ],
)
def test_without_an_endpoint_a_bucket_is_amazon_s(
    client: Client, region: str, name: str, url: str
) -> None:
    assert Bucket(client, name, S3Site(region=region)).location("a b").url == url


def test_what_is_no_list_is_told_from_one() -> None:
    sizeless = b"<Contents><Key>a</Key><Size>x</Size></Contents>"
    assert read_listing(b"<ListBucketResult>%b</ListBucketResult>" % sizeless) is None
    assert read_listing(b"\xff") is None


def test_entities_that_grow_without_end_are_refused() -> None:
    """The billion laughs: https://github.com/libexpat/libexpat/blob/master/expat/Changes, 2.4.0."""
    names = [f"a{number}" for number in range(12)]
    grown = zip(names[1:], names, strict=False)
    entities = "".join(f"<!ENTITY {one} '{f'&{other};' * 10}'>" for one, other in grown)
    text = f"<!DOCTYPE x [<!ENTITY a0 'ha'>{entities}]><ListBucketResult>&a11;</ListBucketResult>"
    assert read_listing(text.encode()) is None


PROFILES = """
[default]
aws_access_key_id = DEFAULT
aws_secret_access_key = a%sb
[minio]
aws_access_key_id = MINIO
aws_secret_access_key = c
aws_session_token = d
"""
CONFIG = """
[default]
region = eu-west-1
[profile minio]
region = us-west-2
endpoint_url = http://minio:9000/
[profile sso]
sso_session = corp
"""


def aws(directory: Path, **more: str) -> AwsSettings:
    credentials, config = directory / "credentials", directory / "config"
    credentials.write_text(PROFILES)
    config.write_text(CONFIG)
    settings = AwsSettings(credentials_file=str(credentials), config_file=str(config))
    return msgspec.structs.replace(settings, **more)


def test_profiles_are_read_as_aws_s_tools_do(tmp_path: Path) -> None:
    default = read_site(aws(tmp_path))
    assert (default.region, default.endpoint) == ("eu-west-1", None)
    assert default.key
    assert default.key.secret_access_key == "a%sb"
    minio = read_site(aws(tmp_path, profile="minio", region="us-east-2"))
    assert (minio.region, minio.endpoint) == ("us-east-2", "http://minio:9000")
    assert minio.key
    assert minio.key.session_token == "d"
    nowhere = AwsSettings(credentials_file="/nowhere/a", config_file="/nowhere/b")
    assert read_site(nowhere) == S3Site()


def test_profiles_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sso_session"):
        read_site(aws(tmp_path, profile="sso"))
    with pytest.raises(NotFoundError) as caught:
        read_site(aws(tmp_path, profile="mini"))
    assert "minio" in str(caught.value.cause)
    (tmp_path / "broken").write_text("aws_secret_access_key = abc\n")
    broken = AwsSettings(credentials_file=str(tmp_path / "broken"), config_file="/nowhere")
    with pytest.raises(UsageError, match="malformed") as malformed:
        read_site(broken)
    assert "abc" not in f"{malformed.value.cause}{malformed.value.hint}"
