import msgspec

from nimctl.core.facts import Artifact, DigestAlgorithm, File, carry_digests


def artifact(*files: File) -> Artifact:
    return Artifact(reference="hf://a/b", files=files)


def test_the_digest_is_that_of_the_content_whatever_the_registry_and_order() -> None:
    one = File(path="a", url="https://x/a", size=1, digests={"sha256": "1" * 64})
    two = File(path="b", url="https://x/b", digests={"sha256": "2" * 64})
    elsewhere = msgspec.structs.replace(one, url="file:///a", etag="e")
    assert artifact(one, two).digest == artifact(two, elsewhere).digest
    assert artifact(one, two).digest != artifact(one).digest


def test_there_is_no_digest_until_every_sha256_is_known() -> None:
    known = File(path="a", url="u", digests={"sha256": "1" * 64})
    unknown = File(path="b", url="u", digests={"git-sha1": "2" * 40})
    assert artifact(known, unknown).digest is None
    assert artifact(known, unknown).size is None


def test_digests_are_carried_over_while_nothing_changed() -> None:
    before = File(path="a", url="u", size=3, etag="e", digests={"sha256": "1" * 64})
    same = File(path="a", url="u", size=3, etag="e")
    changed = File(path="a", url="u", size=3, etag="f")
    no_etag = File(path="a", url="u", size=3)
    pinned = artifact(before)
    assert carry_digests(artifact(same), pinned).files[0].sha256 == "1" * 64
    assert carry_digests(artifact(changed), pinned).files[0].sha256 is None
    assert carry_digests(artifact(no_etag), pinned).files[0].sha256 is None
    assert carry_digests(artifact(same), None).files[0].sha256 is None


def test_a_size_that_only_the_fetch_told_is_carried_with_the_digest() -> None:
    blake3: dict[DigestAlgorithm, str] = {"blake3": "5" * 64}
    before = File(path="a", url="u", size=3, digests={**blake3, "sha256": "1" * 64})
    again = File(path="a", url="u", digests=blake3)
    [carried] = carry_digests(artifact(again), artifact(before)).files
    assert carried == before


def test_the_etag_that_came_with_the_bytes_is_carried_while_they_are_the_same() -> None:
    sha256: dict[DigestAlgorithm, str] = {"sha256": "1" * 64}
    before = File(path="a", url="u", size=3, served_etag="e-2", digests=sha256)
    same, other = File(path="a", url="v", size=3, digests=sha256), File(path="a", url="u", size=4)
    assert carry_digests(artifact(same), artifact(before)).files[0].served_etag == "e-2"
    assert carry_digests(artifact(other), artifact(before)).files[0].served_etag is None


def test_an_equal_git_digest_carries_the_sha256_over() -> None:
    git: dict[DigestAlgorithm, str] = {"git-sha1": "3" * 40}
    before = File(path="a", url="u", size=3, digests={**git, "sha256": "1" * 64})
    again = File(path="a", url="u", size=3, digests=git)
    other = File(path="a", url="u", size=3, digests={"git-sha1": "4" * 40})
    assert carry_digests(artifact(again), artifact(before)).files[0].sha256 == "1" * 64
    assert carry_digests(artifact(other), artifact(before)).files[0].sha256 is None
