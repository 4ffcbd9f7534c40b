"""Keys and certificates that guard nothing are refused before anything is started."""

import subprocess
from pathlib import Path

import pytest
from conftest import Run, words

NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=models.example")


def openssl(*argv: str) -> None:
    subprocess.run(["openssl", *argv], check=True, capture_output=True)


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, bytes]:
    """A certificate, its key, the same key encrypted, and the key of another."""
    for name in ("one", "other"):
        openssl("req", "-x509", *NEW, "-nodes", "-keyout", f"{tmp_path}/{name}.key",
                "-out", f"{tmp_path}/{name}.pem")  # fmt: skip
    openssl("ec", "-in", f"{tmp_path}/one.key", "-aes256", "-passout", "pass:x",
            "-out", f"{tmp_path}/secret.key")  # fmt: skip
    names = ("one.pem", "one.key", "secret.key", "other.key")
    return {name: (tmp_path / name).read_bytes() for name in names}


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        ((), "needs a certificate and its key"),
        (("one.pem",), "needs a certificate and its key"),
        (("one.key",), "needs a certificate and its key"),
        (("one.pem", "secret.key"), "not encrypted"),
        (("one.pem", "other.key"), "key values mismatch"),
    ],
)
def test_a_file_that_is_no_certificate_with_its_key(
    run: Run, parts: dict[str, bytes], tmp_path: Path, contents: tuple[str, ...], why: str
) -> None:
    file = tmp_path / "tls.pem"
    file.write_bytes(b"".join(parts[name] for name in contents))
    refused = run("serve", "capitals-demo", "--tls-cert", file, "--port", "auto", "--dry-run")
    assert refused.code == 2
    words(refused, "is no certificate for a server", why)


def test_a_certificate_may_be_commented_in_any_language(
    run: Run, parts: dict[str, bytes], tmp_path: Path
) -> None:
    file = tmp_path / "tls.pem"
    file.write_bytes("Gültig für Köln\n".encode() + parts["one.pem"] + parts["one.key"])
    refused = run("serve", "capitals-demo", "--tls-cert", file, "--port", "auto", "--dry-run")
    assert "certificate for a server" not in refused.err


@pytest.mark.parametrize(("text", "why"), [(b"\n", "holds no key"), (b"k\xff", "not plain text")])
def test_a_file_of_keys_without_a_key(run: Run, tmp_path: Path, text: bytes, why: str) -> None:
    file = tmp_path / "keys"
    file.write_bytes(text)
    refused = run("serve", "capitals-demo", "--api-key-file", file, "--port", "auto", "--dry-run")
    assert refused.code == 2
    words(refused, str(file), why)
