"""The stand-in for NGC is faithful: the unmodified `ngcsdk` of NVIDIA works against it."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ngc import Ngc

DRIVER = Path(__file__).parent.parent / "support" / "ngcsdk_driver.py"
FILES = {
    "detector.onnx": bytes(range(256)) * 400,
    "empty.txt": b"",
    "sub/labels with blanks.txt": b"cat\ndog\n",
}
MODEL = "acme/vision/detector"
LEGACY, PERSONAL = "bGVnYWN5LWtleQ", "nvapi-personal"


@pytest.fixture
def python() -> str:
    """An interpreter that has ngcsdk."""
    named = os.environ.get("NIMCTL_TEST_NGCSDK_PYTHON")
    if not named and not importlib.util.find_spec("ngcsdk"):
        pytest.skip(
            "pip install ngcsdk==4.37.0, or set NIMCTL_TEST_NGCSDK_PYTHON to the interpreter "
            "of an environment that has ngcsdk 4.37"
        )
    return named or sys.executable


@pytest.fixture
def ngc(tmp_path: Path) -> Iterator[Ngc]:
    with Ngc(tmp_path) as ngc:
        model = ngc.add(MODEL, is_public=True)
        model.add("0.9", {"detector.onnx": b"old"}, gpu_model="A100")
        model.add("1.0.0", FILES)
        ngc.add("acme/private").add("1", FILES)
        ngc.keys = {LEGACY: {"acme"}, PERSONAL: {"acme"}}
        yield ngc


class Sdk:
    """The real client, as one account."""

    def __init__(self, python: str, ngc: Ngc, home: Path) -> None:
        self._python, self._ngc, self._home = python, ngc, home

    def run(self, *calls: list[str], key: str | None = None) -> subprocess.CompletedProcess[str]:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "NGC_CLI_HOME": str(self._home),
            "NGC_CLI_API_URL": self._ngc.url,
            "NGC_CLI_AUTH_URL": self._ngc.url,
            "REQUESTS_CA_BUNDLE": self._ngc.ca_file,
            **({"NGC_CLI_API_KEY": key, "NGC_CLI_ORG": "acme"} if key else {}),
        }
        command = [self._python, str(DRIVER), json.dumps(calls)]
        return subprocess.run(
            command,
            env=environ,
            input="y\n",  # what the acceptance of a licence asks for
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def results(self, *calls: list[str], key: str | None = None) -> list[Any]:
        done = self.run(*calls, key=key)
        assert done.returncode == 0, done
        results: list[Any] = json.loads(done.stdout.splitlines()[-1])
        return results


@pytest.fixture
def sdk(python: str, ngc: Ngc, tmp_path: Path) -> Sdk:
    return Sdk(python, ngc, tmp_path)


def tree(directory: Path) -> Mapping[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("key", [None, LEGACY, PERSONAL])
def test_ngcsdk_lists_and_downloads_a_version_byte_for_byte_over_pages(
    ngc: Ngc, sdk: Sdk, tmp_path: Path, key: str | None
) -> None:
    ngc.page_size = 2
    target = tmp_path / "target"
    versions, info, files, _ = sdk.results(
        ["list", f"{MODEL}:*"],
        ["info", f"{MODEL}:1.0.0"],
        ["list_files", f"{MODEL}:1.0.0"],
        ["download_version", f"{MODEL}:1.0.0", str(target)],
        key=key,
    )
    assert [version["versionId"] for version in versions] == ["1.0.0", "0.9"]
    assert versions[1]["gpuModel"] == "A100"
    assert info["modelVersion"]["totalFileCount"] == len(FILES)
    assert {file["path"]: file["sizeInBytes"] for file in files} == {
        path: len(data) for path, data in FILES.items()
    }
    assert tree(target / "detector_v1.0.0") == FILES
    assert all("authorization" not in one.headers for one in ngc.requests_to("blob"))


@pytest.mark.parametrize(
    ("key", "names"), [(None, {"detector"}), (PERSONAL, {"detector", "private"})]
)
def test_ngcsdk_finds_the_models_that_an_account_may_see(
    sdk: Sdk, key: str | None, names: set[str]
) -> None:
    (found,) = sdk.results(["list", "acme/*"], key=key)
    assert {model["name"] for model in found} == names


@pytest.mark.parametrize(
    ("target", "key", "words"),
    [
        ("acme/private:1", None, "Could not find the model"),
        (f"{MODEL}:7", LEGACY, "could not be found"),
        (f"{MODEL}:1.0.0", "nvapi-wrong", "nvalid"),
        (f"{MODEL}:1.0.0", "d3Jvbmc", "nvalid"),
    ],
)
def test_ngcsdk_takes_each_refusal_for_what_it_is(
    sdk: Sdk, tmp_path: Path, target: str, key: str | None, words: str
) -> None:
    done = sdk.run(["download_version", target, str(tmp_path / "target")], key=key)
    assert done.returncode != 0, done
    assert words in done.stderr, done


def test_ngcsdk_takes_412_for_a_licence_that_waits_to_be_accepted(
    ngc: Ngc, sdk: Sdk, tmp_path: Path
) -> None:
    ngc.models["acme", "vision", "detector"].needs_acceptance = True
    target = tmp_path / "target"
    done = sdk.run(["download_version", f"{MODEL}:1.0.0", str(target)], key=PERSONAL)
    assert done.returncode != 0, done
    # The page that nimctl names as well.
    page = "https://catalog.ngc.nvidia.com/orgs/acme/teams/vision/models/detector?version=1.0.0"
    assert page in done.stderr, done
    accept = ["accept_license", f"{MODEL}:1.0.0"]
    download = ["download_version", f"{MODEL}:1.0.0", str(tmp_path / "again")]
    sdk.results(accept, download, key=PERSONAL)
    assert tree(tmp_path / "again" / "detector_v1.0.0") == FILES
