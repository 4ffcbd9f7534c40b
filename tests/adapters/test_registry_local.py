"""The local registry on real directories."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from nimctl.core.errors import NimctlError, NotFoundError, UsageError, VerificationError
from nimctl.core.facts import Artifact
from nimctl.core.refs import ModelRef
from nimctl.registries.local import LocalRegistry

NOBODY = 65534


@pytest.fixture
def model(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    (model / "config.json").write_bytes(b"{}")
    (model / "sub" / "a b%.bin").write_bytes(b"123")
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_bytes(b"x")
    (model / ".DS_Store").write_bytes(b"x")
    return model


def resolve(path: Path | str) -> Artifact:
    return LocalRegistry(Path("/nonexistent")).resolve(ModelRef(scheme="file", path=str(path)))


def failure(path: Path | str) -> NimctlError:
    with pytest.raises(NimctlError) as caught:
        resolve(path)
    return caught.value


@contextmanager
def without_root() -> Iterator[None]:
    """Root may read anything; for a moment, be nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_directory_gives_its_files_but_for_hidden_ones(model: Path) -> None:
    artifact = resolve(model)
    assert artifact.reference == f"file://{model}"
    assert [(file.path, file.size) for file in artifact.files] == [
        ("config.json", 2),
        ("sub/a b%.bin", 3),
    ]
    for file in artifact.files:
        url = urlsplit(LocalRegistry(model).locate(file).url)
        assert (url.scheme, url.netloc) == ("file", "")
        assert Path(unquote(url.path)) == model / file.path
        assert file.digests == {}


def test_a_file_gives_itself(model: Path) -> None:
    (file,) = resolve(model / "config.json").files
    assert (file.path, file.size) == ("config.json", 2)


def test_the_etag_changes_with_the_content(model: Path) -> None:
    path = model / "config.json"
    before = resolve(path).files[0].etag
    assert resolve(path).files[0].etag == before
    path.write_bytes(b"[]")
    os.utime(path, ns=(1, 1))
    assert resolve(path).files[0].etag != before


@pytest.mark.parametrize("shared", [False, True])
def test_a_hugging_face_snapshot_is_read_through_its_links(tmp_path: Path, *, shared: bool) -> None:
    cache = tmp_path / "hub"
    snapshot = cache / "models--acme--tiny" / "snapshots" / "0123"
    blobs = cache / "models--acme--tiny" / "blobs"
    (snapshot / "onnx").mkdir(parents=True)
    blobs.mkdir()
    if shared:  # huggingface_hub 2 keeps Xet files once for all models
        (cache / "blobs" / "ab").mkdir(parents=True)
        (cache / "blobs" / "ab" / "abcd").write_bytes(b"weights")
        (blobs / "f00").symlink_to("../../blobs/ab/abcd")
    else:
        (blobs / "f00").write_bytes(b"weights")
    (snapshot / "model.gguf").symlink_to("../../blobs/f00")
    (snapshot / "onnx" / "model.bin").symlink_to("../../../blobs/f00")
    assert [(file.path, file.size) for file in resolve(snapshot).files] == [
        ("model.gguf", 7),
        ("onnx/model.bin", 7),
    ]


def test_a_link_inside_the_directory_is_followed(model: Path) -> None:
    (model / "weights.bin").symlink_to("sub/a b%.bin")
    assert {file.path: file.size for file in resolve(model).files}["weights.bin"] == 3


def test_a_directory_named_through_a_link_is_read(model: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(model)
    assert len(resolve(tmp_path / "current").files) == 2


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "sub/../../outside"])
def test_a_link_that_leads_outside_is_refused(model: Path, target: str) -> None:
    (model.parent / "outside").write_bytes(b"secret")
    (model / "weights.bin").symlink_to(target)
    error = failure(model)
    assert isinstance(error, UsageError)
    assert "weights.bin" in error.message


def test_a_link_to_a_directory_cannot_go_round_in_circles(model: Path) -> None:
    (model / "sub" / "up").symlink_to("..")
    assert isinstance(failure(model), UsageError)


def test_a_link_to_nothing_or_to_itself_is_named(model: Path) -> None:
    (model / "lost.bin").symlink_to("gone.bin")
    error = failure(model)
    assert isinstance(error, NotFoundError)
    assert "lost.bin" in error.message
    (model / "lost.bin").unlink()
    (model / "round").symlink_to("round")
    assert "round" in failure(model / "round").message


def test_what_is_no_regular_file_is_refused_and_not_waited_for(model: Path) -> None:
    os.mkfifo(model / "pipe")
    assert isinstance(failure(model), UsageError)
    assert isinstance(failure(model / "pipe"), UsageError)
    (model / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(model / "socket"))
        assert isinstance(failure(model), UsageError)


def test_an_absent_path_is_answered_with_near_names(model: Path) -> None:
    error = failure(model.parent / "modle")
    assert isinstance(error, NotFoundError)
    assert "model" in str(error.cause)
    deeper = failure(model.parent / "modle" / "deep" / "config.json")
    assert deeper.message.startswith(f"{model.parent / 'modle'} ")
    assert isinstance(failure(model / "config.json" / "x"), NotFoundError)


def test_a_directory_without_files_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert isinstance(failure(tmp_path), NotFoundError)


@pytest.mark.parametrize("locked", ["config.json", "sub", ""])
def test_what_may_not_be_read_is_said_with_the_path(model: Path, locked: str) -> None:
    for directory in (model, *model.parents):
        directory.chmod(0o755)
        if directory.name.startswith("pytest-of-"):
            break
    (model / locked).chmod(0)
    try:
        with without_root():
            error = failure(model)
    finally:
        (model / locked).chmod(0o755)
    assert isinstance(error, NotFoundError)
    assert "permission denied" in error.message
    assert str(model / locked) in error.message
    assert error.hint


def test_a_name_that_is_unsafe_elsewhere_is_refused(model: Path) -> None:
    (model / "aux.json").write_bytes(b"")
    assert isinstance(failure(model), VerificationError)


def test_a_shipped_model_is_found_by_its_name(tmp_path: Path, model: Path) -> None:
    registry = LocalRegistry(tmp_path)
    artifact = registry.resolve(ModelRef.parse("package://model"))
    assert artifact.reference == "package://model"
    assert artifact.files[0].url == (model / "config.json").as_uri()
    for name in ("../model", "modl", "", ".", "model/sub"):
        with pytest.raises(NotFoundError, match="shipped") as caught:
            registry.resolve(ModelRef(scheme="package", path=name))
        assert "model" in str(caught.value.cause)


def test_an_installation_without_models_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        LocalRegistry(tmp_path / "models").resolve(ModelRef.parse("package://model"))
