"""`push` and `pull` against a real registry daemon."""

import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run, words
from ngc_site import make_certificate
from registry_daemon import OCI_MANIFEST, PASSWORD, USER, RegistryDaemon

import nimctl

DEMO = Path(nimctl.__file__).parent / "models" / "capitals-demo"


@pytest.fixture
def locked_registry(tmp_path: Path) -> Iterator[RegistryDaemon]:
    directory = tmp_path / "locked"
    directory.mkdir()
    with RegistryDaemon.with_password(directory) as daemon:
        yield daemon


def test_a_pushed_model_comes_back_and_is_served(
    run: Run, registry: RegistryDaemon, tmp_path: Path
) -> None:
    run("pull", "capitals-demo")
    pushed = run("push", "capitals-demo", f"oci://{registry.host}/demo:1", "--json").json
    assert pushed["digest"].startswith("sha256:")
    said = run("push", "capitals-demo", f"oci://{registry.host}/demo:1").out.strip()
    assert said == f"oci://{registry.host}/demo:1@{pushed['digest']}"
    assert run("pull", said, "--json").json["revision"] == pushed["digest"]
    elsewhere = {"NIMCTL_HOME": str(tmp_path / "elsewhere")}
    pulled = run("pull", f"oci://{registry.host}/demo:1", "--json", env=elsewhere).json
    assert pulled["revision"] == pushed["digest"]
    for one in pulled["files"]:
        assert Path(one["path"]).read_bytes() == (DEMO / one["name"]).read_bytes()
    ref = f"oci://{registry.host}/demo@{pushed['digest']}"
    built = run("build-engine", ref, "--json", env=elsewhere)
    assert built.code == 0, built


def test_a_pushed_engine_is_served_without_a_build(
    run: Run, registry: RegistryDaemon, environ: dict[str, str], tmp_path: Path
) -> None:
    run("build-engine", "capitals-demo", "--precision", "q8_0")
    target = f"oci://{registry.host}/engines/demo:q8"
    [engine] = run("inspect", "capitals-demo", "--json").json["engines"]
    by_key = run("push", "capitals-demo", target, "--engine", engine["key"][:12], "--json")
    pushed = run("push", "capitals-demo", target, "--engine", "q8_0", "--json")
    assert pushed.code == 0, pushed
    assert set(pushed.json["files"]) == {"model.gguf", "engine.json"}
    assert by_key.json == pushed.json
    request = urllib.request.Request(
        f"{registry.url}/v2/engines/demo/manifests/q8", headers={"Accept": OCI_MANIFEST}
    )
    with urllib.request.urlopen(request) as answer:
        notes = json.load(answer)["annotations"]
    assert notes["dev.nimctl.engine.key"] == engine["key"]
    assert notes["dev.nimctl.engine.builder"] == engine["recipe"]["builder"]
    environ["NIMCTL_HOME"] = str(tmp_path / "elsewhere")
    served = run("serve", target, "-d", "-p", "auto", "--json")
    assert served.code == 0, served
    assert served.json["server"]["state"] == "ready"


def test_a_second_push_sends_nothing_and_gives_the_same_digest(
    run: Run, registry: RegistryDaemon
) -> None:
    run("pull", "capitals-demo")
    first = run("push", "capitals-demo", f"oci://{registry.host}/demo:1", "--json").json
    uploads = len(registry.requests("PATCH")) + len(registry.requests("PUT"))
    second = run("push", "capitals-demo", f"oci://{registry.host}/demo:1", "--json").json
    assert second == first
    # Only the manifest is put again.
    assert len(registry.requests("PATCH")) + len(registry.requests("PUT")) == uploads + 1


def test_a_registry_of_this_machine_may_have_a_certificate(
    run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    run("pull", "capitals-demo")
    with RegistryDaemon(tmp_path, certificate=certificate) as daemon:
        target = f"oci://localhost:{daemon.port}/demo:1"
        untrusted = run("push", "capitals-demo", target)
        assert untrusted.code == 5
        words(untrusted, "certificate", "is not trusted")
        environ["SSL_CERT_FILE"] = certificate.certificate_file
        assert run("push", "capitals-demo", target).code == 0
        pulled = run("pull", target, "--json", env={"NIMCTL_HOME": str(tmp_path / "elsewhere")})
    assert pulled.code == 0, pulled
    assert pulled.json["bytes_fetched"] == sum(one.stat().st_size for one in DEMO.iterdir())


def test_a_registry_may_have_an_address_of_ipv6(run: Run, tmp_path: Path) -> None:
    run("pull", "capitals-demo")
    with RegistryDaemon(tmp_path, address="[::1]") as daemon:
        target = f"oci://{daemon.host}/demo:1"
        assert run("push", "capitals-demo", target).code == 0
        pulled = run("pull", target, "--json", env={"NIMCTL_HOME": str(tmp_path / "elsewhere")})
    assert pulled.code == 0, pulled
    assert pulled.json["reference"] == target


def test_a_login_opens_a_registry(
    run: Run, locked_registry: RegistryDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("pull", "capitals-demo")
    target = f"oci://{locked_registry.host}/demo:1"
    refused = run("push", "capitals-demo", target)
    assert refused.code == 4
    words(refused, locked_registry.host)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    run("login", locked_registry.host, "-u", USER, "--password-stdin")
    assert run("push", "capitals-demo", target).code == 0
    assert run("pull", target).code == 0
    run("logout", locked_registry.host)
    assert run("pull", target).code == 4


def test_what_is_not_there_or_no_registry_is_refused(run: Run, registry: RegistryDaemon) -> None:
    assert run("push", "capitals-demo", f"oci://{registry.host}/demo:1").code == 3
    run("pull", "capitals-demo")
    assert run("push", "capitals-demo", "hf://org/repo").code == 2
    target = f"oci://{registry.host}/demo:1"
    result = run("push", "capitals-demo", target, "--engine", "f16")
    assert result.code == 3
    words(result, "nimctl build-engine capitals-demo --precision f16")


def test_a_pulled_artifact_is_there_offline(run: Run, registry: RegistryDaemon) -> None:
    run("pull", "capitals-demo")
    target = f"oci://{registry.host}/demo:1"
    run("push", "capitals-demo", target)
    run("pull", target)
    offline = run("pull", target, "--offline", "--json")
    assert offline.code == 0
    assert offline.json["bytes_fetched"] == 0


def test_globs_narrow_what_is_pulled_from_a_registry(run: Run, registry: RegistryDaemon) -> None:
    run("pull", "capitals-demo")
    target = f"oci://{registry.host}/demo:1"
    run("push", "capitals-demo", target)
    only = run("pull", target, "--include", "*.json", "--exclude", "tokenizer*", "--json").json
    assert {one["name"] for one in only["files"]} == {
        "config.json",
        "generation_config.json",
        "special_tokens_map.json",
    }
    assert run("pull", target, "--include", "*.onnx").code == 3
