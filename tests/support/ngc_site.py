"""What a stand-in for NGC knows: models and their versions, keys, presigned URLs, faults."""

import secrets
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from faulty_server import Seen, Site

CREATED = "2024-01-19T22:14:33.000Z"
Storage = Literal["V1", "V2"]


class Certificate(NamedTuple):
    """A self-signed certificate for 127.0.0.1, which is its own CA bundle."""

    certificate_file: str
    key_file: str


def make_certificate(directory: Path) -> Certificate:
    """Make one with openssl."""
    made = Certificate(str(directory / "certificate.pem"), str(directory / "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    command += ["-out", made.certificate_file, "-keyout", made.key_file]
    subprocess.run(command, check=True, capture_output=True)
    return made


@dataclass
class Version:
    """A version of a model, with its files."""

    name: str
    files: dict[str, bytes]
    status: str = "UPLOAD_COMPLETE"
    gpu_model: str | None = None
    scan: str = "CLEAN"
    sha256: bool = True

    def wire(self, storage: Storage) -> dict[str, Any]:
        return {
            "versionId": self.name,
            "status": self.status,
            "createdDate": CREATED,
            "totalFileCount": len(self.files),
            "totalSizeInBytes": sum(map(len, self.files.values())),
            "storageVersion": storage,
            "gpuModel": self.gpu_model,
            "malwareScanStatus": self.scan,
        }


@dataclass
class Model:
    """A model; the last version added is the latest.

    `labels` maps other names to versions. `refusal` is the status that everybody gets for it.
    `needs_acceptance` says that its licence waits to be accepted.
    """

    org: str
    team: str | None
    name: str
    versions: dict[str, Version] = field(default_factory=dict)
    is_public: bool = False
    refusal: int | None = None
    needs_acceptance: bool = False
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def resource_id(self) -> str:
        return "/".join(part for part in (self.org, self.team, self.name) if part)

    def add(self, name: str, files: Mapping[str, bytes], **more: Any) -> Version:
        """Publish a version."""
        self.versions[name] = Version(name, dict(files), **more)
        return self.versions[name]

    def wire(self) -> dict[str, Any]:
        terms = {"licenseId": "eula", "licenseVersion": "1", "needsAcceptance": True}
        return {
            "name": self.name,
            "orgName": self.org,
            "teamName": self.team,
            "displayName": self.name,
            "precision": "FP16",
            "latestVersionIdStr": next(reversed(self.versions), None),
            "isPublic": self.is_public,
            "canGuestDownload": self.is_public,
            "createdDate": CREATED,
            "updatedDate": CREATED,
            "licenseTerms": [terms] if self.needs_acceptance else [],
        }


@dataclass
class Signed:
    """What a presigned URL opens, and how often it still does."""

    path: str
    data: bytes
    uses: int


class NgcSite(Site):
    """What the API and the object store of one stand-in share.

    `keys` maps each valid key to the organisations of its owner. A presigned URL is good for
    `signature_uses`; `page_size` caps what is asked for, and pages count from `first_page`.
    `refuses_lists` stands for organisations that answer "Org contex missing". Faults are of the
    kinds `api`, `token`, `files`, `urls` and `blob`.
    """

    def __init__(self, certificate: Certificate) -> None:
        super().__init__()
        self.models: dict[tuple[str, str | None, str], Model] = {}
        self.keys: dict[str, set[str]] = {}
        self.tokens: dict[str, str] = {}
        self.token_lasts_s = 900
        self.signature_uses = 10**6
        self.page_size = 1000
        self.first_page = 0
        self.storage: Storage = "V2"
        self.refuses_lists = False
        self.signed: dict[str, Signed] = {}
        self.blob_url = ""
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(*certificate)
        self.ca_file = certificate.certificate_file

    def add(self, resource_id: str, *, is_public: bool = False) -> Model:
        """Make a model without versions; its id is `org/team/name` or `org/name`."""
        org, *team, name = resource_id.split("/")
        model = Model(org, team[0] if team else None, name, is_public=is_public)
        self.models[org, model.team, name] = model
        return model

    def sign(self, path: str, data: bytes) -> str:
        """A URL in the object store that opens `data` without credentials."""
        signature = secrets.token_hex(16)
        self.signed[signature] = Signed(path, data, self.signature_uses)
        name = quote(PurePosixPath(path).name)
        return f"{self.blob_url}/{name}?X-Amz-Expires=3600&X-Amz-Signature={signature}"

    def requests_to(self, server: Literal["api", "blob"], containing: str = "") -> list[Seen]:
        """What one of the two servers was asked."""
        return [one for one in self.seen if one.server == server and containing in one.path]
