import pytest
from hypothesis import given
from hypothesis import strategies as st

from nimctl.core.errors import NotFoundError, OtherReferenceError, UsageError
from nimctl.core.facts import File
from nimctl.core.refs import ModelRef
from nimctl.core.selection import selected

names = st.from_regex(r"[A-Za-z0-9][\w.-]{0,12}", fullmatch=True)
hubs = st.builds(
    lambda org, repo, revision, include, files: ModelRef(
        scheme="hf",
        path=f"{org}/{repo}",
        revision=revision,
        include=tuple(include),
        files=tuple(files),
    ),
    names,
    names,
    st.none() | st.from_regex(r"[\w./-]{1,20}", fullmatch=True),
    st.lists(st.from_regex(r"[\w.*?/-]{1,12}", fullmatch=True), max_size=3),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=3),
)
paths = st.builds(
    lambda parts: ModelRef(scheme="file", path="/" + "/".join(parts)),
    st.lists(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
    ),
)
webs = st.builds(
    lambda host, name, sha256: ModelRef(scheme="https", path=f"{host}/{name}", sha256=sha256),
    st.from_regex(r"[a-z]{1,8}\.example(:[1-9][0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[\w.-]{1,8}\.gguf", fullmatch=True),
    st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
)
ngc = st.builds(
    lambda path, version, include: ModelRef(
        scheme="ngc", path=path, revision=version, include=tuple(include)
    ),
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}(/[a-z0-9][a-z0-9_.-]{0,8}){1,2}", fullmatch=True),
    st.none() | st.from_regex(r"[A-Za-z0-9_.+-]{1,20}", fullmatch=True),
    st.lists(st.from_regex(r"[a-z*./]{1,12}", fullmatch=True), max_size=2),
)
oci = st.builds(
    lambda host, repository, revision: ModelRef(
        scheme="oci", path=f"{host}/{repository}", revision=revision
    ),
    st.from_regex(r"[a-z]{1,8}(:[1-9][0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}", fullmatch=True),
    st.none()
    | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
    | st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
)
ollama = st.builds(
    lambda path, tag: ModelRef(scheme="ollama", path=path, revision=tag),
    st.from_regex(r"([a-z]{1,8}/)?[a-z0-9][a-z0-9.]{0,8}", fullmatch=True),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
)
s3 = st.builds(
    lambda bucket, prefix, include: ModelRef(
        scheme="s3", path=f"{bucket}/{prefix}".rstrip("/"), include=tuple(include)
    ),
    st.from_regex(r"[a-z0-9][a-z0-9.-]{1,12}[a-z0-9]", fullmatch=True),
    st.from_regex(r"[\w%+=@ /.-]{0,20}", fullmatch=True),
    st.lists(st.from_regex(r"[a-z*./]{1,12}", fullmatch=True), max_size=2),
)
catalogue = st.builds(
    lambda name: ModelRef(scheme="catalogue", path=name),
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True),
)


@given(hubs | paths | webs | ngc | oci | ollama | s3 | catalogue)
def test_parse_and_str_are_inverse(ref: ModelRef) -> None:
    assert ModelRef.parse(str(ref)) == ref


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    try:
        ref = ModelRef.parse(text)
    except UsageError:
        return
    assert ModelRef.parse(str(ref)) == ref


@given(hubs | paths | webs | ngc | oci | ollama | s3)
def test_directory_names_are_one_safe_path_part(ref: ModelRef) -> None:
    name = ref.directory_name
    assert "/" not in name
    assert name not in (".", "..")
    assert not name.startswith(("-", "."))
    assert len(name.encode()) <= 255


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Qwen/Qwen2.5-0.5B", "hf://Qwen/Qwen2.5-0.5B"),
        ("Capitals-Demo", "no catalogue name capitals-demo"),
        ("/models/x", "file:///models/x"),
        ("./x", "file://$(realpath ./x)"),
        ("gs://bucket/model", "s3://BUCKET/PREFIX"),
        ("s3://b", "s3://BUCKET/PREFIX"),
        ("s3://buck et/x", "s3://BUCKET/PREFIX"),
        ("s3://bucket/x?versionId=1", "?include=GLOB,GLOB"),
        ("ngc://only-one-part", "ngc://ORG[/TEAM]/MODEL"),
        ("ngc://a/b:", "ngc://ORG[/TEAM]/MODEL"),
        ("oci://host", "oci://HOST/REPOSITORY"),
        ("oci://host/Repo:tag", "oci://HOST/REPOSITORY"),
        ("ollama://a/b/c", "ollama://[NAMESPACE/]NAME"),
        ("hf://only-one-part", "hf://ORG/REPO"),
        ("hf://a/b@", "hf://ORG/REPO"),
        ("hf://a/b?only=x", "?include=GLOB,GLOB"),
        ("http://example.com/x.gguf", "#sha256=HEX"),
        ("https://example.com/", "names no file"),
        ("https://user:secret@example.com/x", "~/.netrc"),
        ("https://example.com/x#sha256=12", "64 hex digits"),
        ("https://[::1/x", "no URL"),
        ("file://relative", "absolute path"),
        ("", "no model reference"),
        ("a b", "no model reference"),
    ],
)
def test_what_is_wrong_is_said_with_the_way_out(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        ModelRef.parse(text)
    error = caught.value
    assert says in " ".join(filter(None, (error.message, error.cause, error.hint)))


def test_credentials_in_a_url_are_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        ModelRef.parse("https://user:secret@example.com/x")
    assert "secret" not in f"{caught.value.message}{caught.value.cause}{caught.value.hint}"


def test_globs_select_by_path_or_name() -> None:
    ref = ModelRef.parse("hf://a/b?include=*.safetensors,onnx/*&exclude=*-old*")
    chosen = ["model.safetensors", "sub/x.safetensors", "onnx/model.onnx"]
    assert all(ref.selects(path) for path in chosen)
    assert not any(ref.selects(path) for path in ("README.md", "model-old.safetensors"))
    assert all(ModelRef.parse("hf://a/b").selects(path) for path in chosen)


def test_files_are_named_exactly_and_beside_globs() -> None:
    # https://docs.nvidia.com/nim/large-language-models/latest/deployment/model-download.html
    ref = ModelRef.parse("ngc://nim/meta/llama:hf-8c22764-nim1.3b?file=a[1]+b.json")
    assert ref.files == ("a[1]+b.json",)
    assert ref.selects("a[1]+b.json")
    assert not ref.selects("a1+b.json")
    assert not ref.selects("dir/a[1]+b.json")
    both = ModelRef.parse("hf://o/m@main?include=*.txt&file=a%2Cb.json&file=c")
    assert both.files == ("a,b.json", "c")
    assert [both.selects(path) for path in ("x.txt", "a,b.json", "c", "d")] == [1, 1, 1, 0]


def test_a_colon_before_the_revision_is_read_as_nim_manifests_write_it() -> None:
    ref = ModelRef.parse("hf://meta-llama/Llama-3.1-8B:0e9e39f?file=config.json")
    assert str(ref) == "hf://meta-llama/Llama-3.1-8B@0e9e39f?file=config.json"


def test_a_file_that_is_named_has_to_be_there() -> None:
    files = [File(path=path, url="https://x.example") for path in ("a", "b", "d/a")]
    ref = ModelRef.parse("ngc://o/m:1?file=a")
    assert [file.path for file in selected(ref, files)] == ["a"]
    with pytest.raises(NotFoundError) as caught:
        selected(ModelRef.parse("ngc://o/m:1?file=a&file=c"), files)
    assert caught.value.message == "ngc://o/m has no file c"
    assert caught.value.cause == "it has a, b, d/a"


def test_a_reference_is_narrowed_where_it_has_globs() -> None:
    ref = ModelRef.parse("ngc://a/b:1?include=x.txt")
    assert str(ref.narrowed(("*.json",), ("y*",))) == "ngc://a/b:1?include=x.txt,*.json&exclude=y*"
    with pytest.raises(UsageError, match="do not go with"):
        ModelRef.parse("capitals-demo").narrowed(("x",), ())


@pytest.mark.parametrize(
    ("page", "meant"),
    [
        ("blob/main/sub/m.gguf", "hf://acme/tiny@main?file=sub/m.gguf"),
        ("blob/main/a%20b.gguf?x=1", "hf://acme/tiny@main?file=a%20b.gguf"),
        ("tree/v1", "hf://acme/tiny@v1"),
        ("tree/refs%2Fpr%2F1/", "hf://acme/tiny@refs%2Fpr%2F1"),
        ("tree/main/sub/of", "hf://acme/tiny@main?include=sub/of/*"),
    ],
)
def test_a_page_of_the_hub_that_shows_files_is_answered_with_what_is_meant(
    page: str, meant: str
) -> None:
    with pytest.raises(OtherReferenceError, match="is a page, not a file") as caught:
        ModelRef.parse(f"https://huggingface.co/acme/tiny/{page}")
    assert caught.value.meant == meant
    assert ModelRef.parse(meant).path == "acme/tiny"


def test_the_hub_s_files_are_files() -> None:
    assert ModelRef.parse("https://huggingface.co/a/b/resolve/main/m.gguf").scheme == "https"


def test_beside_a_digest_a_tag_says_nothing() -> None:
    digest = f"sha256:{'a' * 64}"
    ref = ModelRef.parse(f"oci://localhost:5000/a/b:1.0@{digest}")
    assert (ref.path, ref.revision) == ("localhost:5000/a/b", digest)
    assert ref == ModelRef.parse(f"oci://localhost:5000/a/b@{digest}")
    for wrong in (f":@{digest}", "@1.0", f":1.0@{digest[:-1]}", f"@{digest}:1.0"):
        with pytest.raises(UsageError, match="oci://HOST/REPOSITORY"):
            ModelRef.parse(f"oci://localhost:5000/a/b{wrong}")


def test_plain_http_is_taken_from_this_machine_or_with_a_digest() -> None:
    for host in ("127.0.0.1:8080", "[::1]:8080", "localhost", "LOCALHOST:1", "127.8.8.8"):
        assert ModelRef.parse(f"http://{host}/m.gguf").scheme == "http"
    for host in ("example.com", "localhost.example", "127.0.0.1.example", "[2001:db8::1]"):
        with pytest.raises(UsageError, match="neither encrypted nor pinned"):
            ModelRef.parse(f"http://{host}/m.gguf")
    assert ModelRef.parse(f"http://example.com/m.gguf#sha256={'a' * 64}").sha256 == "a" * 64
