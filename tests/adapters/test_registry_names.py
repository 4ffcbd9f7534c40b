"""Names from outside are safe or refused."""

import posixpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nimctl.core.errors import VerificationError
from nimctl.core.names import checked_digest, near, safe_name, safe_path, safe_paths

PARTS = st.sampled_from(["..", ".", "", "a", "B", "con", "x.", "~", "\\", "C:", "é", "a b", "\0"])


@pytest.mark.parametrize(
    "path", ["model.gguf", "a/b/c.json", ".gitattributes", "été/ça va.bin", "a..b", "consoles/x"]
)
def test_an_ordinary_path_is_taken_as_it_is(path: str) -> None:
    assert safe_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "..", "/", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", "./a"),
        *("a\\b", "\\\\host\\share", "C:x", "x:stream", "a\0b", "a\nb", "a\x1b[2Jb", "a\u202eb"),
        *("a.", "a ", "a./b", "CON", "nul.txt", "a/Com1.bin", "x" * 256, "é" * 128),
        *("/".join(["x" * 200] * 21), "\udcff"),
    ],
)
def test_a_path_that_could_do_harm_somewhere_is_refused(path: str) -> None:
    with pytest.raises(VerificationError) as caught:
        safe_path(path)
    assert caught.value.cause
    assert caught.value.message.isprintable()


@given(st.lists(PARTS | st.text(max_size=5), min_size=1, max_size=5).map("/".join))
@example("..//..")
def test_a_path_that_is_taken_stays_under_its_directory(path: str) -> None:
    try:
        safe_path(path)
    except VerificationError:
        return
    assert posixpath.normpath(posixpath.join("/root", path)) == f"/root/{path}"


@pytest.mark.parametrize(
    "paths",
    [["README.md", "readme.md"], ["a", "a/b"], ["a/b/c", "A/B"], ["straße", "STRASSE"], ["a", "a"]],
)
def test_names_that_cannot_lie_side_by_side_are_refused(paths: list[str]) -> None:
    with pytest.raises(VerificationError):
        safe_paths(paths)


def test_names_that_can_lie_side_by_side_are_taken() -> None:
    assert safe_paths(["a/b", "a/c", "ab"]) == ("a/b", "a/c", "ab")


def test_a_file_name_has_no_directory() -> None:
    assert safe_name("model.gguf") == "model.gguf"
    with pytest.raises(VerificationError):
        safe_name("a/model.gguf")


def test_a_digest_is_lower_case_hex_of_its_length() -> None:
    assert checked_digest("sha256", "AB" * 32) == "ab" * 32
    for text in ("ab" * 20, "../" + "a" * 61, "", "g" * 64):
        with pytest.raises(VerificationError):
            checked_digest("sha256", text)


def test_near_names_are_offered_if_there_are_any() -> None:
    assert near("qwen", ["qwen2", "llama"]) == "near names: qwen2"
    assert near("xyz", ["qwen2", "llama"]) is None
