"""What a profile takes from where, and where it lies in NIM's cache and in a model store."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.errors import NimctlError, UsageError, VerificationError
from nimctl.core.facts import Artifact, DigestAlgorithm, File
from nimctl.core.nim_manifest import ManifestProfile, WorkspaceItem
from nimctl.core.nim_workspace import (
    CachedModel,
    StoreFile,
    WorkspaceSource,
    blob_name,
    cached_model,
    pinned_down,
    sources_of,
    store_files,
)
from nimctl.core.refs import ModelRef

BLAKE3: dict[DigestAlgorithm, str] = {"blake3": "ab" * 32}
ENGINE = "ngc://nim/acme/tiny:a100x1-throughput"
CHECKPOINT = "ngc://nim/acme/tiny:hf-1234567"


def profile(*items: WorkspaceItem) -> ManifestProfile:
    return ManifestProfile(id="an-id", tags={}, workspace=items)


def item(path: str, uri: str | None, **more: dict[DigestAlgorithm, str]) -> WorkspaceItem:
    return WorkspaceItem(path=path, uri=uri, **more)


def artifact(reference: str, *files: File, revision: str | None = None) -> Artifact:
    return Artifact(reference=reference, revision=revision, files=files)


def file(path: str, **more: object) -> File:
    return msgspec.structs.replace(File(path=path, url=f"https://x.example/{path}"), **more)


def test_files_are_gathered_by_version_and_named_exactly() -> None:
    engine, checkpoint = sources_of(
        profile(
            item("config.json", f"{CHECKPOINT}?file=config.json"),
            item("trtllm_engine/rank0.engine", f"{ENGINE}?file=rank0.engine", digests=BLAKE3),
            item("LICENSE", f"{CHECKPOINT}?file=LICENSE"),
            item("trtllm_engine/config.json", f"{ENGINE}?file=config.json"),
        )
    )
    assert str(engine.ref) == f"{ENGINE}?file=config.json&file=rank0.engine"
    assert engine.paths_of("config.json") == ("trtllm_engine/config.json",)
    assert engine.digests == {"rank0.engine": BLAKE3}
    assert str(checkpoint.ref) == f"{CHECKPOINT}?file=LICENSE&file=config.json"
    assert checkpoint.paths_of("elsewhere") == ()


def test_a_whole_version_goes_into_a_directory() -> None:
    (source,) = sources_of(profile(item("models/", "ngc://nim/acme/mol:1.3")))
    assert str(source.ref) == "ngc://nim/acme/mol:1.3"
    assert source.paths_of("a/b.bin") == ("models/a/b.bin",)
    both = sources_of(
        profile(item("", f"{CHECKPOINT}"), item("extra/c.json", f"{CHECKPOINT}?file=config.json"))
    )
    assert str(both[0].ref) == CHECKPOINT
    assert both[0].paths_of("config.json") == ("extra/c.json", "config.json")


def test_every_kind_of_address_is_read() -> None:
    sources = sources_of(
        profile(
            item("a", "hf://acme/tiny:0e9e39f?file=a"),
            item("b", "/opt/models/b"),
            item("c", "s3://bucket/some/c"),
        )
    )
    assert [str(one.ref) for one in sources] == [
        "file:///opt/models/b",
        "hf://acme/tiny@0e9e39f?file=a",
        "s3://bucket/some/c",
    ]
    assert [one.paths_of(name) for one, name in zip(sources, "bac", strict=True)] == [
        ("b",),
        ("a",),
        ("c",),
    ]


@pytest.mark.parametrize(
    ("items", "kind", "says"),
    [
        ((), UsageError, "no files of its own"),
        ((item("a", None),), UsageError, "does not say where"),
        ((item("a", "gs://b/a"),), UsageError, "gs://, from where nimctl cannot fetch"),
        ((item("a", "modelscope://o/m:1?file=a"),), UsageError, "modelscope://"),
        ((item("a", "ngc://org/team/model/engine.bin"),), VerificationError, "makes no sense"),
        ((item("a", "ngc://org/team/model?file=a"),), VerificationError, "makes no sense"),
        ((item("a", "ngc://org/team/model:1"),), VerificationError, "makes no sense"),
        ((item("a", "ngc://o/m:1?include=*"),), VerificationError, "makes no sense"),
        ((item("a", "https://x.example/a"),), VerificationError, "makes no sense"),
        ((item("a", "\x1b"),), VerificationError, "makes no sense"),
        ((item("../a", f"{CHECKPOINT}?file=a"),), VerificationError, "refused"),
        ((item("/a", f"{CHECKPOINT}?file=a"),), VerificationError, "refused"),
        (
            (
                item("a", f"{CHECKPOINT}?file=a", digests=BLAKE3),
                item("b", f"{CHECKPOINT}?file=a", digests={"blake3": "cd" * 32}),
            ),
            VerificationError,
            "two digests",
        ),
    ],
)
def test_what_cannot_be_fetched_or_laid_out_is_refused(
    items: tuple[WorkspaceItem, ...], kind: type[NimctlError], says: str
) -> None:
    with pytest.raises(kind) as caught:
        sources_of(profile(*items))
    assert says in caught.value.message
    assert caught.value.message.isprintable()


def test_the_manifests_digests_join_those_of_the_registry() -> None:
    ref = ModelRef.parse(f"{CHECKPOINT}?file=a")
    source = WorkspaceSource(ref=ref, files={"a": ("a",)}, digests={"a": BLAKE3})
    sha256: dict[DigestAlgorithm, str] = {"sha256": "1" * 64}
    (joined,) = pinned_down(source, artifact(str(ref), file("a", digests=sha256))).files
    assert joined.digests == {**sha256, **BLAKE3}
    with pytest.raises(VerificationError) as caught:
        pinned_down(source, artifact(str(ref), file("a", digests={"blake3": "cd" * 32})))
    assert "cd" * 32 in (caught.value.cause or "")


def test_places_in_the_cache_are_those_that_were_published() -> None:
    # https://github.com/jovanjuzy/nim-training @de3a689, L40S/tree-download-to-cache.md
    version = "0.11.1+ba20956e-l40sx1-bf16-throughput.1.1.0.17088220"
    reference = f"ngc://nim/meta/llama-3_1-8b-instruct:{version}?file=rank0.engine"
    assert cached_model(artifact(reference, revision=version)) == CachedModel(
        reference=reference,
        path="ngc/hub/models--nim--meta--llama-3_1-8b-instruct",
        revision=version,
        snapshot=version,
    )
    commit = "0e9e39f249a16976918f6564b8830bc894c89659"
    assert cached_model(artifact("hf://meta-llama/Llama-3.1-8B", revision=commit)) == CachedModel(
        reference="hf://meta-llama/Llama-3.1-8B",
        path="huggingface/hub/models--meta-llama--Llama-3.1-8B",
        revision="main",
        snapshot=commit,
    )
    assert cached_model(artifact("file:///opt/x")) is None
    with pytest.raises(VerificationError):
        cached_model(artifact("hf://a/b@../../etc", revision=commit))


def test_blobs_have_the_names_that_nim_and_the_hub_give() -> None:
    ngc = CachedModel(reference="ngc://n/m:1", path="ngc/hub/m", revision="1", snapshot="1")
    hub = msgspec.structs.replace(ngc, path="huggingface/hub/m")
    sha256: dict[DigestAlgorithm, str] = {"sha256": "1" * 64}
    both: dict[DigestAlgorithm, str] = {**sha256, "git-sha1": "2" * 40}
    etag = "3e710a79e58ddecbe63a8dffa7464658-3091"
    url = "https://api.ngc.nvidia.com/v2/org/nim/team/acme/models/tiny/versions/1/files/a"
    served = file("a", url=url, digests=sha256, served_etag=etag)
    assert blob_name(ngc, served) == (etag, True)
    assert blob_name(ngc, msgspec.structs.replace(served, url="s3://mirror/a")) == ("1" * 64, False)
    assert blob_name(ngc, file("a", url=url, digests=sha256)) == ("1" * 64, False)
    hostile = msgspec.structs.replace(served, served_etag="../../x")
    assert blob_name(ngc, hostile) == ("1" * 64, False)
    assert blob_name(hub, served) == ("1" * 64, True)
    assert blob_name(hub, file("a", digests=both, served_etag="e")) == ("2" * 40, True)


def test_a_model_store_is_the_workspace_in_one_directory() -> None:
    engine, checkpoint = sources_of(
        profile(
            item("trtllm_engine/config.json", f"{ENGINE}?file=config.json"),
            item("config.json", f"{CHECKPOINT}?file=config.json"),
        )
    )
    pairs = [
        (engine, artifact(str(engine.ref), file("config.json"))),
        (checkpoint, artifact(str(checkpoint.ref), file("config.json"))),
    ]
    assert store_files(pairs) == tuple(
        StoreFile(reference=str(source.ref), file="config.json", path=path)
        for source, path in ((engine, "trtllm_engine/config.json"), (checkpoint, "config.json"))
    )
    one, other = item("a", f"{CHECKPOINT}?file=a"), item("A", f"{ENGINE}?file=b")
    both = sources_of(profile(one, other))  # as NIM's cache has them apart
    pairs = [(source, artifact(str(source.ref), file(*source.ref.files))) for source in both]
    with pytest.raises(VerificationError, match="case"):
        store_files(pairs)
    whole = WorkspaceSource(ref=ModelRef.parse(CHECKPOINT), directories=("",))
    clash = [(whole, artifact(CHECKPOINT, file("A"), file("a")))]
    with pytest.raises(VerificationError):
        store_files(clash)


NAMES = st.sampled_from(["a", "b.json", "d/c", "../x", "A", "a b", "x,y", "e+f", "%41", ""])


@given(
    st.lists(
        st.builds(
            lambda path, uri, name: WorkspaceItem(path=path, uri=f"{uri}?file={name}"),
            NAMES,
            st.sampled_from([ENGINE, CHECKPOINT, "hf://o/m:1", "s3://b/k", "x://", ""]),
            NAMES,
        ),
        max_size=6,
    )
)
def test_any_workspace_is_sorted_out_whatever_its_order_or_refused(
    items: list[WorkspaceItem],
) -> None:
    try:
        sources = sources_of(profile(*items))
    except NimctlError:
        return
    assert sources_of(profile(*reversed(items)))[0].ref == sources[0].ref
    placed = sum(len(paths) for source in sources for paths in source.files.values())
    assert placed == len([one for one in items if one.path])
    for source in sources:
        assert ModelRef.parse(str(source.ref)) == source.ref
