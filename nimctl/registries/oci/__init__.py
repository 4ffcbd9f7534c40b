"""OCI registries: models as artifacts of the distribution API, pulled and pushed.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
"""

from nimctl.registries.oci.auth import Credentials
from nimctl.registries.oci.docker_credentials import DockerCredentials
from nimctl.registries.oci.keyring_logins import KeyringLogins
from nimctl.registries.oci.modelpack import ModelDescription, ModelFile
from nimctl.registries.oci.proofs import Login
from nimctl.registries.oci.push import OciPublisher
from nimctl.registries.oci.registry import OciRegistry

__all__ = [
    "Credentials",
    "DockerCredentials",
    "KeyringLogins",
    "Login",
    "ModelDescription",
    "ModelFile",
    "OciPublisher",
    "OciRegistry",
]
