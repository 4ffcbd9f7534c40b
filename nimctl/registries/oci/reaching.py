"""How a registry on this machine is spoken to: it may have a certificate or none."""

from http import HTTPStatus

from nimctl.core.refs import ModelRef
from nimctl.http import Client
from nimctl.registries.oci.places import Place, place_of


def reach(client: Client, ref: ModelRef) -> Place:
    """The repository that an oci:// reference names, where its registry answers.

    Whoever expects TLS answers plain HTTP with 400 (Go's net/http, which most registries are made
    with: `Client sent an HTTP request to an HTTPS server`; nginx: `The plain HTTP request was sent
    to HTTPS port`), and no registry answers `/v2/` so.
    https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#determining-support

    Raises:
        NetworkError: It cannot be reached.
    """
    place = place_of(ref)
    if place.is_encrypted:
        return place
    # With a header, so that the client does not add what ~/.netrc has.
    answer = client.get(f"{place.base}/v2/", {"Accept": "application/json"})
    return place.encrypted if answer.status == HTTPStatus.BAD_REQUEST else place
