"""NGC's words: credentials, and what the name of a model version tells."""

import re
from datetime import datetime
from typing import Literal

from nimctl.core.value import Value

# https://docs.ngc.nvidia.com/cli/: what `ngc config set` writes for an anonymous user.
_NO_KEY = "no-apikey"
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_PRECISION = r"(?P<precision>(?:bf|fp|int|nvfp|mxfp)\d+\w*)"
_GPU = r"(?P<gpu>[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*?)"
_PROFILE = r"(?P<profile>latency|throughput)"
_VERSION_NAMES = tuple(
    re.compile(pattern, re.ASCII | re.IGNORECASE)
    for pattern in (
        # LLAMA-2-7B-4K-FP16-1-A100.24.01: early access, 2024
        rf".+-\d+K-{_PRECISION}-(?P<count>\d+)-{_GPU}\.\d\d\.\d\d",
        # 0.11.1+ba20956e-l40sx1-bf16-throughput.1.1.0.17088220: NIM 1.0
        rf"[\d.]+\+[0-9a-f]+-{_GPU}x(?P<count>\d+)-{_PRECISION}-{_PROFILE}\b.*",
        # a100x1-throughput-precision.bf16-udrspesh5q: NIM 1.3 and later
        rf"{_GPU}x(?P<count>\d+)-{_PROFILE}-precision\.{_PRECISION}-.*",
    )
)

CredentialKind = Literal["guest", "legacy", "bearer"]


class NgcCredential(Value):
    """Who asks: nobody in particular, or the owner of a key.

    A `legacy` key is exchanged for a token that lasts minutes; a `bearer` secret is sent as it is.
    A guest's secret is the guest token, which may be empty.
    """

    kind: CredentialKind = "guest"
    secret: str = ""

    def __repr__(self) -> str:
        """Without the secret."""
        return f"NgcCredential(kind={self.kind!r})"


class NgcConfig(Value):
    """What the configuration file of NVIDIA's `ngc` tool says."""

    api_key: str | None = None
    org: str | None = None
    team: str | None = None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"NgcConfig(org={self.org!r}, team={self.team!r})"


class Build(Value):
    """What an engine was built for, as its version's name tells; `gpu` in upper case."""

    gpu: str | None = None
    gpu_count: int | None = None
    precision: str | None = None
    profile: str | None = None


class ModelVersion(Value):
    """One version of a model on NGC; only `UPLOAD_COMPLETE` ones can be pulled.

    `gpu` is what the publisher wrote, or else what the version's name says, and so with
    `precision`.
    """

    version: str
    status: str | None = None
    created: datetime | None = None
    size_bytes: int | None = None
    files: int | None = None
    gpu: str | None = None
    gpu_count: int | None = None
    precision: str | None = None
    profile: str | None = None


def credential(key: str | None, *, guest_token: str | None = None) -> NgcCredential:
    """Tell what kind of credential a key is; without a key, a guest's."""
    key = (key or "").strip()
    if not key or key == _NO_KEY:
        return NgcCredential(secret=guest_token or "")
    if key.startswith("nvapi-") or _JWT.fullmatch(key):
        return NgcCredential(kind="bearer", secret=key)
    return NgcCredential(kind="legacy", secret=key)


def build_of(version: str) -> Build:
    """Read the name of a version; what it does not tell is None."""
    found = next((found for name in _VERSION_NAMES if (found := name.fullmatch(version))), None)
    if found is None:
        return Build()
    parts = found.groupdict()
    return Build(
        gpu=parts["gpu"].upper(),
        gpu_count=int(parts["count"]),
        precision=parts["precision"].lower(),
        profile=(parts.get("profile") or "").lower() or None,
    )
