"""Mirrors in buckets, on web servers and on disks, in the forms that `nimctl.core.mirrors` has."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from nginx import Nginx
from s3_server import S3Server
from transfers import blake3_of

from nimctl.core.aws import S3Site
from nimctl.core.errors import NimctlError, NotFoundError, UsageError, VerificationError
from nimctl.core.facts import Artifact, File
from nimctl.core.http import HttpOptions
from nimctl.core.mirrors import Source, checked_mirror, key_of, source_of_key, source_of_url
from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.mirrors import BucketMirror, TreeMirror
from nimctl.registries.s3 import Buckets

LLAMA = "ngc://nim/meta/llama3-8b-instruct"
FILES = {"config.json": b"{}", "trtllm_engine/rank0.engine": b"engine", "empty": b""}
PLUS = "0.11.1+ba20956e-l40sx1-bf16-throughput.1.1.0"
COMMIT = "a" * 40


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    lines = "".join(f"{blake3_of(data)}  {path}\n" for path, data in FILES.items())
    objects = {
        **keyed("nim/meta/llama3-8b-instruct:hf", {**FILES, "checksums.blake3": lines.encode()}),
        **keyed(f"nim/meta/llama3-8b-instruct:{PLUS}", FILES),
        **keyed("org/only:1", FILES),
        **keyed("org/model:main", {"config.json": b"{}"}),
        **keyed("org/model:other", {"config.json": b"[]"}),
        "unrelated": b"",
    }
    with S3Server() as server:
        server.fill("nim_bucket", objects)
        server.fill("below", {f"a/b/{key}": data for key, data in objects.items()})
        yield server


def keyed(release: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The objects that stand for files, by the rule in NVIDIA's words: an escaped path."""
    return {quote(f"{release}?file={path}", safe=""): data for path, data in files.items()}


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(HttpOptions(attempts=1)) as client:
        yield client


def hashes(artifact: Artifact) -> dict[str, str | None]:
    return {file.path: file.sha256 for file in artifact.files}


def test_the_key_of_a_file_is_the_one_of_nvidia_s_example() -> None:
    """https://docs.nvidia.com/nim/large-language-models/latest/nim-repository-override.html."""
    source = Source("nim/meta/llama3-8b-instruct", "hf", "config.json")
    assert key_of(source) == "nim%2Fmeta%2Fllama3-8b-instruct%3Ahf%3Ffile%3Dconfig.json"
    assert source_of_key(source.model, key_of(source)) == source


@pytest.mark.parametrize(
    ("scheme", "url", "source"),
    [
        (
            "hf",
            "https://huggingface.co/org/repo/resolve/abc/sub/a%20b.json",
            Source("org/repo", "abc", "sub/a b.json"),
        ),
        (
            "ngc",
            "https://api.ngc.nvidia.com/v2/org/nim/team/meta/models/llama/versions/1%2B2/files/a",
            Source("nim/meta/llama", "1+2", "a"),
        ),
        (
            "ngc",
            "https://mirror/x/v2/org/nim/models/llama/versions/1/files/s/a",
            Source("nim/llama", "1", "s/a"),
        ),
        ("ngc", "https://huggingface.co/org/repo/resolve/abc/a", None),
        ("hf", "s3://bucket/key", None),
    ],
)
def test_a_registry_s_url_of_a_file_tells_what_it_is(
    scheme: str, url: str, source: Source | None
) -> None:
    assert source_of_url(scheme, url) == source


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://mirror.example/", "not encrypted"),
        ("jfrog://art.example:443/", "not one that nimctl can read"),
        ("mirror.example", "no mirror"),
        ("s3://", "no mirror"),
        ("file:relative/path", "no mirror"),
        ("https://[::1", "no mirror"),
    ],
)
def test_what_is_no_mirror_is_refused(url: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_mirror(url)
    assert says in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("base", ["s3://nim_bucket/", "s3://nim_bucket", "s3://below/a/b/"])
@pytest.mark.parametrize("revision", ["hf", PLUS])
def test_a_bucket_that_nim_reads_is_a_mirror(
    server: S3Server, client: Client, base: str, revision: str
) -> None:
    mirror = BucketMirror("ngc", base, Buckets(client, S3Site(endpoint=server.url, key=server.key)))
    reference = f"{LLAMA}:{revision}"
    artifact = mirror.resolve(ModelRef.parse(reference))
    assert (artifact.reference, artifact.revision) == (reference, revision)
    got = {}
    for file in artifact.files:
        location = mirror.locate(file)
        got[file.path] = client.get(location.url, location.headers).body
    got.pop("checksums.blake3", None)
    assert got == FILES
    if revision == "hf":
        by_path = {file.path: file.digests for file in artifact.files}
        assert all(by_path[path] == {"blake3": blake3_of(FILES[path])} for path in FILES)


@pytest.fixture
def bucket(server: S3Server, client: Client) -> BucketMirror:
    site = S3Site(endpoint=server.url, key=server.key)
    return BucketMirror("ngc", "s3://nim_bucket/", Buckets(client, site))


def test_without_a_version_the_only_one_is_meant(bucket: BucketMirror) -> None:
    assert bucket.resolve(ModelRef.parse("ngc://org/only")).revision == "1"
    with pytest.raises(NotFoundError) as caught:
        bucket.resolve(ModelRef.parse(LLAMA))
    assert PLUS in str(caught.value.cause)


def test_without_a_revision_the_hub_s_default_branch_is_meant(
    server: S3Server, client: Client
) -> None:
    site = S3Site(endpoint=server.url, key=server.key)
    mirror = BucketMirror("hf", "s3://nim_bucket/", Buckets(client, site))
    assert mirror.resolve(ModelRef.parse("hf://org/model")).revision == "main"
    assert mirror.resolve(ModelRef.parse("hf://org/model@other")).revision == "other"


def test_a_model_that_is_not_in_the_bucket_is_told_with_the_key_that_was_looked_for(
    bucket: BucketMirror,
) -> None:
    with pytest.raises(NotFoundError) as caught:
        bucket.resolve(ModelRef.parse("ngc://nim/meta/llama3-8b:hf"))
    assert "nim%2Fmeta%2Fllama3-8b%3Ahf%3Ffile%3D" in str(caught.value.cause)
    with pytest.raises(NotFoundError) as caught:
        bucket.resolve(ModelRef.parse(f"{LLAMA}:hg"))
    assert "hf" in str(caught.value.cause)


def test_a_file_that_a_lock_has_from_the_registry_is_found_in_the_bucket(
    bucket: BucketMirror, client: Client
) -> None:
    base = "https://api.ngc.nvidia.com/v2/org/nim/team/meta/models/llama3-8b-instruct/versions"
    file = File(path="config.json", url=f"{base}/hf/files/config.json", size=2)
    location = bucket.locate(file)
    assert client.get(location.url, location.headers).body == b"{}"


def listed(files: Mapping[str, bytes], *, dot: str = "") -> bytes:
    """A list as `sha256sum` writes it."""
    return "".join(
        f"{hashlib.sha256(data).hexdigest()}  {dot}{path}\n" for path, data in files.items()
    ).encode()


class Tree:
    """A mirror in a directory, which a web server may serve."""

    def __init__(self, base: str, directory: Path) -> None:
        self.base, self._directory = base, directory

    def fill(self, place: str, files: Mapping[str, bytes], sums: bytes | None = None) -> None:
        """Put files into a directory, and a list of their digests."""
        listing = listed(files) if sums is None else sums
        for path, data in {**files, "SHA256SUMS": listing}.items():
            target = self._directory / place / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


@pytest.fixture(params=["web", "disk"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tree]:
    directory = tmp_path / "mirror"
    directory.mkdir()
    if request.param == "disk":
        yield Tree(directory.as_uri() + "/", directory)
        return
    with Nginx(tmp_path, directory) as nginx:
        yield Tree(nginx.url, directory)


def failure(mirror: TreeMirror, text: str) -> NimctlError:
    with pytest.raises(NimctlError) as caught:
        mirror.resolve(ModelRef.parse(text))
    return caught.value


def test_directories_with_lists_of_digests_are_a_mirror(tree: Tree, client: Client) -> None:
    sums = listed(FILES, dot="./")
    tree.fill("ngc/nim/meta/llama3-8b-instruct/hf", FILES, sums)
    tree.fill("hf/org/repo/main", FILES)
    for scheme, text in (("ngc", f"{LLAMA}:hf"), ("hf", "hf://org/repo")):
        mirror = TreeMirror("hf" if scheme == "hf" else "ngc", tree.base, lambda: client)
        artifact = mirror.resolve(ModelRef.parse(text))
        assert artifact.revision == ("main" if scheme == "hf" else "hf")
        assert {file.path: file.size for file in artifact.files} == {
            path: len(data) for path, data in FILES.items()
        }
        assert hashes(artifact) == {
            path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()
        }
        assert [mirror.locate(file).url for file in artifact.files] == [
            file.url for file in artifact.files
        ]


def test_a_file_that_a_lock_has_from_the_hub_is_found_in_the_tree(
    tree: Tree, client: Client
) -> None:
    mirror = TreeMirror("hf", tree.base, lambda: client)
    file = File(path="a.json", url=f"https://huggingface.co/org/repo/resolve/{COMMIT}/s/a%20b.json")
    assert mirror.locate(file).url == f"{tree.base}hf/org/repo/{COMMIT}/s/a%20b.json"


def test_a_revision_that_leads_out_of_the_mirror_is_refused(tree: Tree, client: Client) -> None:
    mirror = TreeMirror("hf", tree.base, lambda: client)
    assert isinstance(failure(mirror, "hf://org/repo@../../../x"), VerificationError)


def test_a_tree_without_the_model_or_a_file_of_it_says_what_is_missing(
    tree: Tree, client: Client
) -> None:
    mirror = TreeMirror("hf", tree.base, lambda: client)
    missing = failure(mirror, "hf://org/repo@main")
    assert isinstance(missing, NotFoundError)
    assert "hf/org/repo/main/SHA256SUMS does not exist" in str(missing.cause)
    tree.fill("hf/org/repo/main", {}, listed(FILES))
    assert isinstance(failure(mirror, "hf://org/repo"), NotFoundError)


@pytest.mark.parametrize(
    "sums", [b"<html>please log in</html>", listed({"../../etc/passwd": b""}), b"\xff"]
)
def test_a_list_that_is_none_or_leads_out_is_refused(
    tree: Tree, client: Client, sums: bytes
) -> None:
    tree.fill("hf/org/repo/main", {}, sums)
    mirror = TreeMirror("hf", tree.base, lambda: client)
    assert isinstance(failure(mirror, "hf://org/repo"), VerificationError)
