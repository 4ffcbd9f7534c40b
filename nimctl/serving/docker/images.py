"""Images: what the engine has, pulling with progress, and files out of an image that never ran."""

import contextlib
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import requests
from docker import APIClient
from docker.errors import APIError, ImageNotFound

from nimctl.core.containers import Image, RegistryLogin
from nimctl.core.errors import NotFoundError, VerificationError
from nimctl.core.events import Emit, Finished, Progressed, Started
from nimctl.serving.docker.failures import answered, pull_refusal, translated

_MAX_LINKS = 8
_MAX_FILE_BYTES = 32 * 2**20


def find(client: APIClient, reference: str, where: str) -> Image | None:
    """An image that the engine has."""
    with translated(f"looking for image {reference}", where):
        try:
            found: dict[str, Any] = client.inspect_image(reference)
        except ImageNotFound:
            return None
    config = found.get("Config") or {}
    return Image(
        reference=reference,
        id=str(found["Id"]),
        digests=tuple(found.get("RepoDigests") or ()),
        architecture=str(found.get("Architecture") or ""),
        system=str(found.get("Os") or "linux"),
        size=int(found.get("Size") or 0),
        labels=config.get("Labels") or {},
        user=config.get("User") or "",
        working_directory=config.get("WorkingDir") or "",
        environment=tuple(config.get("Env") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
    )


def pull(
    client: APIClient,
    reference: str,
    emit: Emit,
    *,
    platform: str | None,
    login: RegistryLogin | None,
    where: str,
) -> None:
    """Bring an image; the engine fetches only the layers that it lacks."""
    repository, tag = split_reference(reference)
    emit(Started(task="image", title=f"pulling {reference}"))
    auth = {"username": login.username, "password": login.password} if login else {}
    with translated(f"pulling {reference}", where):
        try:
            stream = client.pull(
                repository, tag=tag, stream=True, decode=True, auth_config=auth, platform=platform
            )
            for event in _events(stream, reference):
                emit(event)
        except APIError as error:
            raise pull_refusal(reference, error.explanation or str(error)) from error
    emit(Finished(task="image"))


def split_reference(reference: str) -> tuple[str, str]:
    """Repository and tag or digest; a name without either means `latest`."""
    name, at, digest = reference.partition("@")
    if at:
        return name.rpartition(":")[0] if ":" in posixpath.basename(name) else name, digest
    head, colon, tag = reference.rpartition(":")
    if colon and "/" not in tag:
        return head, tag
    return reference, "latest"


def _events(
    stream: Iterable[dict[str, Any]], reference: str
) -> Iterator[Started | Progressed | Finished]:
    """Layers as tasks, from https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageCreate."""
    moving: set[str] = set()
    refused: str | None = None
    # Read to its end, also after an error: only that lets the connection go.
    for message in stream:
        refused = message.get("error", refused)
        layer, status = str(message.get("id", "")), str(message.get("status", ""))
        task = f"image/{layer}"
        detail = message.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            if task not in moving:
                moving.add(task)
                yield Started(
                    task=task, title=f"layer {layer}", total=detail["total"], parent="image"
                )
            yield Progressed(task=task, done=int(detail.get("current") or 0))
        elif status in ("Download complete", "Pull complete") and task in moving:
            moving.discard(task)
            yield Finished(task=task)
    if refused is not None:
        raise pull_refusal(reference, str(refused))


def read_files(
    client: APIClient, container: str, paths: Sequence[str], where: str
) -> dict[str, bytes]:
    """Those of these files that a container has; links are followed, directories are not read."""
    found = {path: _read(client, container, path, where) for path in paths}
    return {path: data for path, data in found.items() if data is not None}


def _read(client: APIClient, container: str, path: str, where: str) -> bytes | None:
    for _ in range(_MAX_LINKS):
        with translated(f"reading {path} of an image", where):
            found = _first_member(client, container, path)
        if isinstance(found, bytes | None):
            return found
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), found))
    raise NotFoundError(f"{path} is a link that leads in circles")


def _first_member(client: APIClient, container: str, path: str) -> bytes | str | None:
    """A file's content, where a link leads, or None where there is neither.

    Source: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerArchive
    """
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    # The engine holds the container's lock while it sends, so that whatever is not wanted, such as
    # a directory, must not be left hanging: closing the answer ends it. The SDK does not do that.
    plain = {"Accept-Encoding": "identity"}
    with contextlib.closing(
        client.get(url, params={"path": path}, headers=plain, stream=True, timeout=None)
    ) as response:
        if response.status_code == requests.codes.not_found:
            return None
        answered(response)
        with tarfile.open(fileobj=response.raw, mode="r|") as archive:
            member = archive.next()
            if member is None or not (member.isreg() or member.issym()):
                return None
            if member.issym():
                return member.linkname
            if member.size > _MAX_FILE_BYTES:
                raise VerificationError(
                    f"{path} in the image is larger than {_MAX_FILE_BYTES:,} bytes"
                )
            file = archive.extractfile(member)
            return file.read() if file else None
