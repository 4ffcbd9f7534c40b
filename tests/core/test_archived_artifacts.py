"""Artifacts that come as archives."""

import pytest

from nimctl.core.archives import packed, unpacked
from nimctl.core.errors import VerificationError
from nimctl.core.facts import Artifact, File

ARCHIVE = File(path="m.tar", url="https://host/m.tar")
ARTIFACT = Artifact(reference="https://host/m.tar", files=(ARCHIVE, File(path="a", url="u")))


def member(path: str) -> File:
    return File(path=path, url=f"{ARCHIVE.url}#!/{path}", digests={"sha256": "0" * 64})


def test_what_an_archive_holds_takes_its_place_and_the_archive_can_be_had_again() -> None:
    whole = unpacked(ARTIFACT, ARCHIVE, [member("m/x")], ["m/1"])
    assert [file.path for file in whole.files] == ["a", "m/x"]
    assert whole.directories == ("m/1",)
    again = packed(whole)
    assert {file.path for file in again.files} == {"a", "m.tar"}
    assert (again.archives, again.directories) == ((), ())


@pytest.mark.parametrize(
    ("members", "directories"), [(["a"], []), (["A"], []), (["a/x"], []), (["x"], ["a/1"])]
)
def test_what_cannot_lie_beside_the_other_files_is_refused(
    members: list[str], directories: list[str]
) -> None:
    with pytest.raises(VerificationError, match=r"what m\.tar holds does not go with"):
        unpacked(ARTIFACT, ARCHIVE, map(member, members), directories)


def test_an_empty_directory_is_part_of_the_digest() -> None:
    files = [member("x")]
    plain = unpacked(Artifact(reference="r", files=(ARCHIVE,)), ARCHIVE, files)
    more = unpacked(Artifact(reference="r", files=(ARCHIVE,)), ARCHIVE, files, ["d"])
    assert plain.digest == Artifact(reference="r", files=tuple(files)).digest != more.digest
