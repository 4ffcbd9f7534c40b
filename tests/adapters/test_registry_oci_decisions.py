"""What is decided about registries without asking one: names, challenges, documents."""

import json

import pytest

from nimctl.core.errors import UnsupportedModelError
from nimctl.core.refs import ModelRef
from nimctl.registries.oci.challenges import Challenge, chosen, parse
from nimctl.registries.oci.failures import said
from nimctl.registries.oci.layers import layer_files
from nimctl.registries.oci.manifests import Descriptor, choose, decode
from nimctl.registries.oci.places import Place, place_of, place_of_blob
from nimctl.registries.oci.proofs import TokenRequest

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ghcr.io/a/b", Place("https://ghcr.io", "ghcr.io", "a/b")),
        ("127.0.0.1:5000/a", Place("http://127.0.0.1:5000", "127.0.0.1:5000", "a")),
        ("localhost:5000/a/b", Place("http://localhost:5000", "localhost:5000", "a/b")),
        ("127.1.2.3/a", Place("http://127.1.2.3", "127.1.2.3", "a")),
        ("[::1]:5000/a", Place("http://[::1]:5000", "[::1]:5000", "a")),
        ("[2001:db8::1]/a", Place("https://[2001:db8::1]", "[2001:db8::1]", "a")),
        ("localhost.example/a", Place("https://localhost.example", "localhost.example", "a")),
        ("docker.io/ai/x", Place("https://registry-1.docker.io", "docker.io", "ai/x")),
        ("docker.io/x", Place("https://registry-1.docker.io", "docker.io", "library/x")),
    ],
)
def test_a_reference_names_a_place_and_its_blobs_lead_back_there(
    path: str, expected: Place
) -> None:
    place = place_of(ModelRef.parse(f"oci://{path}"))
    assert place == expected
    assert place_of_blob(place.url("blobs", DIGEST)) == expected


def test_other_urls_belong_to_no_repository() -> None:
    assert place_of_blob("https://ghcr.io/v2/a/b/manifests/latest") is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ()),
        ("Basic", (Challenge("basic", {}),)),
        (
            "Negotiate, Basic realm=x",
            (Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})),
        ),
        (
            'Basic realm="a, \\"b\\"", BEARER Realm = "https://t/x?y=1" ,scope="r:a:pull,push"',
            (
                Challenge("basic", {"realm": 'a, "b"'}),
                Challenge("bearer", {"realm": "https://t/x?y=1", "scope": "r:a:pull,push"}),
            ),
        ),
    ],
)
def test_challenges_are_read_as_rfc_9110_writes_them(
    header: str, expected: tuple[Challenge, ...]
) -> None:
    assert parse(header) == expected


def test_bearer_comes_before_basic_and_keeps_what_lasts() -> None:
    header = 'Basic realm="a", Bearer realm="t",service="s",scope="x",error="invalid_token"'
    assert chosen(parse(header)) == Challenge("bearer", {"realm": "t", "service": "s"})
    assert chosen(parse("Basic")) == Challenge("basic", {})
    assert chosen(parse("Bearer, Negotiate")) is None


def test_a_token_s_url_keeps_the_query_of_the_realm() -> None:
    scopes = ("repository:a/b:pull,push", "repository:c:pull")
    expected = "service=a+b&scope=repository:a/b:pull,push&scope=repository:c:pull"
    for realm, joint in (("https://t/x", "?"), ("https://t/x?y=1", "&")):
        assert TokenRequest(realm, "a b", scopes).url == f"{realm}{joint}{expected}"


def test_attestations_of_an_index_are_no_models() -> None:
    unknown = {"os": "unknown", "architecture": "unknown"}
    attestation = {
        "digest": f"sha256:{'1' * 64}",
        "size": 1,
        "platform": unknown,
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    document = {"schemaVersion": 2, "manifests": [attestation, {"digest": DIGEST, "size": 1}]}
    assert choose(decode(json.dumps(document).encode()), "amd64").digest == DIGEST
    with pytest.raises(UnsupportedModelError, match="linux/amd64"):
        choose(decode(b'{"schemaVersion":2,"manifests":[]}'), "amd64")


@pytest.mark.parametrize(
    ("media_type", "title", "expected"),
    [
        ("application/vnd.cncf.model.weight.v1.tar+zstd", "w", ("w.tar.zst", "tar.zst")),
        ("application/vnd.cncf.model.doc.v1.tar", "docs/", ("docs.tar", "tar")),
        ("application/vnd.cncf.model.doc.v1.tar+gzip", "d.tgz", ("d.tgz", "tar.gz")),
        ("application/vnd.cncf.model.doc.v1.raw", "d.tgz", ("d.tgz", None)),
        ("application/vnd.oci.image.layer.v1.tar", "engine.tar.gz", ("engine.tar.gz", None)),
        ("application/vnd.oci.image.layer.v1.tar+gzip", "engine.tar.gz", ("engine.tar.gz", None)),
        ("application/vnd.oci.image.layer.v1.tar+gzip", "engine", ("engine.tar.gz", "tar.gz")),
        ("application/x-tarot", "cards", ("cards", None)),
    ],
)
def test_a_layer_is_an_archive_by_its_type_unless_oras_gave_that_to_a_file(
    media_type: str, title: str, expected: tuple[str, str | None]
) -> None:
    annotations = {"org.opencontainers.image.title": title}
    layer = Descriptor(digest=DIGEST, size=1, media_type=media_type, annotations=annotations)
    (file,) = layer_files([layer])
    assert (file.path, file.archive) == expected


def test_modelpack_s_path_comes_before_a_title() -> None:
    annotations = {"org.opencontainers.image.title": "t", "org.cncf.model.filepath": "sub/f"}
    layer = Descriptor(digest=DIGEST, size=1, media_type="x", annotations=annotations)
    assert layer_files([layer])[0].path == "sub/f"


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[]", b"{}", b'{"errors":[]}'])
def test_a_registry_that_says_nothing_is_not_quoted(body: bytes) -> None:
    assert said(body) is None
