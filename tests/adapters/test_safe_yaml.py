"""YAML from strangers: what is read, what is refused, and how little that costs."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nimctl.catalog import Catalog
from nimctl.core.errors import VerificationError
from nimctl.safe_yaml import Limits, line_of, read

MIB = 2**20


def refusal(data: bytes, **more: Any) -> str:
    with pytest.raises(VerificationError) as caught:
        read(data, "it", **more)
    assert caught.value.message == "it is refused as YAML"
    assert caught.value.cause
    assert len(caught.value.cause) < 400
    assert caught.value.cause.isprintable()
    return caught.value.cause


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that Python objects took meanwhile."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", None),
        ("# nothing\n", None),
        ("[1, -2, 0, 1.5, 1.0e+3, 2.]", [1, -2, 0, 1.5, 1000.0, 2.0]),
        ("[true, false, ~, null]", [True, False, None, None]),
        ("[yes, off, 12:30, 2024-01-01]", ["yes", "off", "12:30", "2024-01-01"]),
        ("[0x1f, 1_000, 1e3, 007, 58e91]", ["0x1f", "1_000", "1e3", "007", "58e91"]),
        ("['1', \"~\", 1.8.4]", ["1", "~", "1.8.4"]),
        ("a: !!str 3\nb: !!seq []\n", {"a": "3", "b": []}),
        ("? 1\n: x\n", {"1": "x"}),
        ("a: &x {b: 1}\nc: *x\n", {"a": {"b": 1}, "c": {"b": 1}}),
        ("%YAML 1.2\n---\na: |\n  two\n  lines\n...\n", {"a": "two\nlines\n"}),
        ("\ufeffa: é\n", {"a": "é"}),
        ("n: " + "9" * 65, {"n": "9" * 65}),
    ],
)  # fmt: skip
def test_plain_documents_are_read_with_the_types_that_all_yaml_agrees_on(
    text: str, tree: object
) -> None:
    assert read(text.encode(), "it") == tree


def test_as_text_keeps_what_is_written_except_null() -> None:
    text = b"a: 2.0\nb: 007\nc: True\nd: null\ne:\nf: 'null'\ng: 2.0.0\n"
    assert read(text, "it", as_text=True) == {
        "a": "2.0", "b": "007", "c": "True", "d": None, "e": None, "f": "null", "g": "2.0.0"
    }  # fmt: skip


def test_tags_that_are_allowed_are_plain_data() -> None:
    text = b"w: !workspace\n  f: [!name 'a', !name b]\n"
    tags = ("!workspace", "!name")
    assert read(text, "it", tags=tags) == {"w": {"f": ["a", "b"]}}
    assert refusal(text, tags=("!workspace",)) == (
        "line 2, `w.f[0]`: the tag `!name` is not allowed"
    )


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"a: 1\nb:\n  c: 1\n  c: 2\n", "line 4, `b`: the key `c` stands here twice"),
        (b"a: 1\n'a': 2\n", "line 2: the key `a` stands here twice"),
        (b"a:\n- b: !!python/object:os.system [id]\n",
         "line 2, `a[0].b`: the tag `tag:yaml.org,2002:python/object:os.system` is not allowed"),
        (b"%TAG !! tag:yaml.org,2002:python/\n---\na: !!object x\n",
         "line 3, `a`: the tag `tag:yaml.org,2002:python/object` is not allowed"),
        (b"a: !!binary aGk=\n", "line 1, `a`: the tag `tag:yaml.org,2002:binary` is not allowed"),
        (b"b: {x: 1}\na:\n  <<: {x: 1}\n", "line 3, `a`: merge keys (<<) are not allowed"),
        (b"[a, b]: c\n", "line 1: a key is no plain text"),
        (b"&x a: c\n", "line 1: the key `a` has an anchor or a tag"),
        (b"a: *b\n", "line 1, `a`: the alias `b` refers to nothing"),
        (b"a: &b\n  - *b\n", "line 2, `a[0]`: the alias `b` refers to itself"),
        (b"---\na: 1\n---\nb: 2\n", "line 3: a second document begins here"),
        (b"a: 1\nb: \xff\n", "line 2: it is no UTF-8: invalid start byte"),
        ("a: 1\n".encode("utf-16"), "line 1: it is no UTF-8: invalid start byte"),
        (b"a: 1\nb: \x00\n", "line 2: control characters are not allowed"),
        (b"a: 'open\n", "line 2, `a`: found unexpected end of stream"),
        (b"a: b: c\n", "line 1: mapping values are not allowed in this context"),
        (b"%NO x\n---\na\n", "line 1: found unknown directive name"),
        (b'"a\\u001bb": 1\n"a\\u001bb": 2\n', "line 2: the key 'a\\x1bb' stands here twice"),
    ],
)  # fmt: skip
def test_what_is_malformed_or_more_than_plain_data_is_refused_with_its_place(
    data: bytes, cause: str
) -> None:
    assert refusal(data) == cause


def test_a_bomb_of_aliases_is_refused_where_it_outgrows_the_limit_and_takes_no_memory() -> None:
    rows = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    bomb = "\n".join(["a0: &a0 [lol]", *rows]).encode()
    # a5 stands for some 9**6 values, so that two of them are too many.
    assert peak_bytes(lambda: refusal(bomb)) < MIB
    assert refusal(bomb).startswith("line 7, `a6[")
    assert "more than 1,000,000 values" in refusal(bomb)


def test_a_bomb_of_text_is_refused_too() -> None:
    text = "x" * 100_000
    bomb = f"a: &a {text}\nb: [{', '.join(['*a'] * 1000)}]\n".encode()
    assert "aliases stand for more than 16,777,216 characters" in refusal(bomb)
    assert peak_bytes(lambda: refusal(bomb)) < MIB


@pytest.mark.parametrize(
    "data",
    [b"[" * 5 * MIB, b"{a: " * MIB, b"- " * MIB, b"[a," * MIB],
)
def test_deep_nesting_is_refused_at_its_beginning(data: bytes) -> None:
    assert "nest" in refusal(data)
    assert peak_bytes(lambda: refusal(data)) < MIB + len(data)  # the check for UTF-8 decodes it


def test_nesting_counts_levels() -> None:
    limits = Limits(depth=3)
    assert read(b"a: [[1]]", "it", limits=limits) == {"a": [[1]]}
    cause = "line 1, `a[0][0]`: it is nested deeper than 3 levels"
    assert refusal(b"a: [[[1]]]", limits=limits) == cause


def test_more_values_than_a_document_may_have_are_refused_at_the_first_one() -> None:
    limits = Limits(values=1000)
    lines = b"".join(b"- a\n" for _ in range(200_000))
    assert refusal(lines, limits=limits).startswith("line 1000, `[999]`: it holds more than 1,000")
    assert peak_bytes(lambda: refusal(lines, limits=limits)) < 2 * MIB


def test_a_document_that_is_too_large_is_not_parsed() -> None:
    limits = Limits(document_bytes=10)
    assert read(b"a: 45678\n\n", "it", limits=limits) == {"a": 45678}
    assert refusal(b"[" * 11, limits=limits) == "line 1: the document is larger than 10 bytes"


def test_directives_that_libyaml_compares_pairwise_are_refused_before_it_sees_them() -> None:
    many = "".join(f"%TAG !a{i}! x\n" for i in range(17)).encode()
    assert "%TAG directives" in refusal(many)


def test_a_number_of_millions_of_digits_is_text() -> None:
    assert read(b"a: " + b"9" * MIB, "it") == {"a": "9" * MIB}


def test_the_line_of_a_path_is_found_or_that_of_the_last_step_that_is_there() -> None:
    data = b"a:\n  - b: 1\n    c: {d: 2,\n      e: 3}\n  - f\ng: &x\n  h: 1\ni: *x\n"
    assert line_of(data, ()) == line_of(b"", ("a",)) == 1
    assert line_of(data, ("a", 0, "c", "e")) == 4
    assert line_of(data, ("a", 1)) == 5
    assert line_of(data, ("a", 7)) == 2
    assert line_of(data, ("i", "h")) == 8


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("name: m\ntitle: M\nname: n\n", "line 3: the key `name` stands here twice"),
        (
            "name: m\ntitle: M\nlicence: x\n",
            "line 3, `licence`: unknown key; did you mean `license`?",
        ),
        (
            "name: m\ntitle: M\nprofiles:\n- backend: b\n  precision: p\n  tp: two\n",
            "line 6, `profiles[0].tp`: expected `int`, got `str`: `two`",
        ),
    ],
)
def test_a_catalogue_file_is_read_as_strictly(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(VerificationError) as caught:
        Catalog(tmp_path).find("m")
    assert str(tmp_path / "m.yaml") in caught.value.message
    assert caught.value.cause == cause


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30),
)
keys = st.text("abc<é ", max_size=4)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(trees)
def test_what_pyyaml_writes_is_read_back(tree: object) -> None:
    assert read(yaml.safe_dump(tree, allow_unicode=True).encode(), "it") == tree


FRAGMENTS = st.sampled_from(
    [*"[]{}:,-?&*!|>'\"%@#\\ \n\t", "a", "b: ", "- ", "<<", "!!str ", "&a ", "*a", "---\n", "...\n",
     "%TAG ! x\n", "\x00", "\u2028", "null", "1", "? ", "\n  "]
)  # fmt: skip


def is_read_or_refused(data: bytes, limits: Limits) -> bool:
    """Whether either happens, and a refusal says where; any other exception goes through."""
    try:
        read(data, "it", limits=limits)
    except VerificationError as error:
        cause = error.cause or ""
        return cause.startswith("line ") and cause.isprintable()
    return True


@given(st.lists(FRAGMENTS, max_size=60).map("".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    assert is_read_or_refused(text.encode(), Limits(values=50, depth=4))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    assert is_read_or_refused(data, Limits())
