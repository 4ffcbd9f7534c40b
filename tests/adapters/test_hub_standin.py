"""The stand-in Hub is faithful: the unmodified `hf` client of huggingface_hub works against it."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hub import Hub

FILES = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "README.md": b"# A model\n",
    "empty.txt": b"",
    "model.safetensors": bytes(range(256)) * 400,
    "onnx/model.bin": b"\x01" * 5000,
    "onnx/nested/notes with blanks.txt": "für später\n".encode(),
}
OLD_FILES = {"config.json": b"{}", "model.safetensors": b"old"}
HF = Path(sys.executable).parent / "hf"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        repository = hub.add("acme/tiny", OLD_FILES)
        repository.tags["v1"] = repository.branches["main"]
        repository.commit(FILES)
        hub.add("acme/gated", FILES, gated="manual")
        hub.add("acme/secret", FILES, private=True)
        hub.grants = {"hf_member": {"acme/gated", "acme/secret"}, "hf_stranger": set()}
        yield hub


def hf_download(
    hub: Hub, home: Path, *argv: str, account: str | None = None
) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **({"HF_TOKEN": account} if account else {}),
    }
    command = [str(HF), "download", *argv]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def tree(directory: Path) -> Mapping[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }


def test_hf_downloads_a_repository_byte_for_byte_over_pages(hub: Hub, tmp_path: Path) -> None:
    hub.page_size = 3
    target = tmp_path / "target"
    done = hf_download(hub, tmp_path, "acme/tiny", "--local-dir", str(target))
    assert done.returncode == 0, done
    assert tree(target) == FILES
    assert sum("/tree/" in one.path for one in hub.seen) == 3
    assert len(hub.requests_to("cdn")) == 2


def test_hf_caches_a_tag_under_the_names_that_the_stand_in_gives(hub: Hub, tmp_path: Path) -> None:
    done = hf_download(hub, tmp_path, "acme/tiny", "--revision", "v1", "--include", "model*")
    assert done.returncode == 0, done
    cache = tmp_path / "hf" / "hub" / "models--acme--tiny"
    commit = hub.repositories["acme/tiny"].tags["v1"]
    assert tree(cache / "snapshots" / commit) == {"model.safetensors": b"old"}
    assert (cache / "blobs" / hashlib.sha256(b"old").hexdigest()).read_bytes() == b"old"


def test_hf_comes_again_after_it_was_told_to_wait(hub: Hub, tmp_path: Path) -> None:
    hub.faults.statuses["resolve"] = [429]
    hub.faults.retry_after = "0"
    target = tmp_path / "target"
    done = hf_download(hub, tmp_path, "acme/tiny", "config.json", "--local-dir", str(target))
    assert done.returncode == 0, done
    assert tree(target) == {"config.json": FILES["config.json"]}
    heads = [one for one in hub.seen if one.method == "HEAD" and "/resolve/" in one.path]
    assert len(heads) == 2


@pytest.mark.parametrize(
    ("argv", "token", "words"),
    [
        (["acme/gated"], None, "requires approval"),
        (["acme/gated"], "hf_stranger", "requires approval"),
        (["acme/secret"], None, "not found"),
        (["acme/secret"], "hf_stranger", "not found"),
        (["acme/tiny", "--revision", "v2"], None, "revision not found"),
        (["acme/tiny"], "hf_wrong", "invalid credentials"),
    ],
)
def test_hf_takes_each_refusal_for_what_it_is(
    hub: Hub, tmp_path: Path, argv: list[str], token: str | None, words: str
) -> None:
    done = hf_download(hub, tmp_path, *argv, account=token)
    assert done.returncode != 0, done
    assert words in done.stderr.lower(), done


def test_hf_reads_a_gated_and_a_private_repository_with_a_token(hub: Hub, tmp_path: Path) -> None:
    for name in ("acme/gated", "acme/secret"):
        target = tmp_path / name
        done = hf_download(hub, tmp_path, name, "--local-dir", str(target), account="hf_member")
        assert done.returncode == 0, done
        assert tree(target) == FILES
    assert all("authorization" not in one.headers for one in hub.requests_to("cdn"))
