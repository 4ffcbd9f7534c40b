"""NIM's `model_manifest.yaml`: which profiles a container has, and what each is made of.

Three forms, all with tags that are text. Schema 1 maps an id to a profile, schema 2 has a list
under `profiles`, and some images of the first schema's time wrap a list in `manifest`:
https://github.com/NVIDIA/k8s-nim-operator (Apache-2.0), internal/nimparser/{v1,v2,legacy.go} and
their test data.
"""

import re
from collections.abc import Iterator
from typing import Literal

from nimctl.core.facts import DigestAlgorithm
from nimctl.core.places import Path
from nimctl.core.value import Value

# https://github.com/NVIDIA/k8s-nim-operator, internal/controller/nimcache_controller.go, and for
# NVCLIP https://docs.nvidia.com/nim/nvclip/1.0.0/profiles.html.
MANIFEST_PATHS = (
    "/opt/nim/etc/default/model_manifest.yaml",
    "/etc/nim/config/model_manifest.yaml",
    "/opt/nim/etc/config/default/model_manifest.yaml",
)
YAML_TAGS = ("!workspace", "!name")
_NIM_MODEL = re.compile(r"ngc://nim/([^/:?]+/[^/:?]+):")
_HEX_DIGITS = 64
# Whether a profile fits cannot be told without these.
_COUNTS = ("tp", "pp", "number_of_gpus")
_COUNT = re.compile(r"[1-9]\d{0,3}", re.ASCII)
_ALGORITHMS: tuple[DigestAlgorithm, ...] = ("blake3", "sha256")


class Misfit(Exception):  # noqa: N818 - a finding, which its finder's caller puts into words
    """Something in a document is not what its place wants."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem


class WorkspaceItem(Value):
    """A file of a profile, or all files of a model version.

    `uri` is what the manifest says, such as `ngc://org/team/model:version?file=name`; None where
    it says nothing. `path` is where the file lies in the workspace; an empty one or one that ends
    in `/` is a directory, and stands for all files of the version.
    """

    path: str
    uri: str | None
    digests: dict[DigestAlgorithm, str] = {}


class ManifestProfile(Value):
    """A profile as a manifest has it; ids are of any form."""

    id: str
    tags: dict[str, str]
    model: str | None = None
    release: str | None = None
    container: str | None = None
    workspace: tuple[WorkspaceItem, ...] = ()


class NimManifest(Value):
    """The profiles of a container, in the manifest's order; `criteria` is `default` or `auto`."""

    schema: str
    criteria: str | None = None
    profiles: tuple[ManifestProfile, ...]

    @property
    def model(self) -> str | None:
        """What its NIM serves, such as `meta/llama-3.1-8b-instruct`, as far as profiles tell.

        Schema 2 does not name it, but takes its files from `ngc://nim/PUBLISHER/MODEL`.
        """
        for profile in self.profiles:
            if profile.model:
                return profile.model
        uris = (item.uri for profile in self.profiles for item in profile.workspace)
        found = (_NIM_MODEL.match(uri) for uri in uris if uri)
        return next((one[1] for one in found if one), None)


class ManifestSource(Value):
    """Where a manifest is: a file (`-` for stdin), a running server's URL, or an image's name."""

    kind: Literal["file", "endpoint", "image"]
    place: str

    def __str__(self) -> str:
        """For errors and reports."""
        if self.kind == "image":
            return f"the image {self.place}"
        return "stdin" if self.place == "-" else self.place


class FoundManifest(Value):
    """A manifest with what is known of where it was found.

    `nim_version` and `download_protocol` are what labels of the image say; an empty protocol is
    the usual one, with a manifest and files from NGC.
    """

    source: ManifestSource
    manifest: NimManifest
    nim_version: str | None = None
    download_protocol: str | None = None


def read_manifest(tree: object) -> NimManifest:
    """Read a manifest from a document whose scalars are text.

    Keys that nimctl does not know are left alone, tags are all kept.

    Raises:
        Misfit: It is no manifest, or of a schema that is not known.
    """
    document = _mapping(tree, ())
    if "schema_version" in document:
        return _schema_2(document)
    wrapped = document.get("manifest")
    if "model_profile" in document and isinstance(wrapped, list):
        return _wrapped(document, wrapped)
    if "profiles" in document and isinstance(document["profiles"], list):
        raise Misfit((), "`schema_version` is missing")
    return _schema_1(document)


def _schema_1(document: dict[str, object]) -> NimManifest:
    profiles = tuple(
        _profile(id_, _mapping(entry, (id_,)), (id_,)) for id_, entry in document.items()
    )
    return _manifest("1", profiles)


def _wrapped(document: dict[str, object], entries: list[object]) -> NimManifest:
    model = _text(document, "model_profile", ())
    return _manifest("1", _listed(entries, ("manifest",), {"model": model}))


def _schema_2(document: dict[str, object]) -> NimManifest:
    version = _required(document, "schema_version", ())
    if version.partition(".")[0] != "2":
        raise Misfit(("schema_version",), f"schema {version} is not known; 1 and 2 are")
    entries = _list(document.get("profiles"), ("profiles",))
    criteria = _text(document, "profile_selection_criteria", ())
    return _manifest("2", _listed(entries, ("profiles",), {}), criteria)


def _manifest(
    schema: str, profiles: tuple[ManifestProfile, ...], criteria: str | None = None
) -> NimManifest:
    if not profiles:
        raise Misfit((), "there is no profile in it")
    return NimManifest(schema=schema, criteria=criteria, profiles=profiles)


def _listed(
    entries: list[object], where: Path, defaults: dict[str, object]
) -> tuple[ManifestProfile, ...]:
    """Profiles that have their `id` in them, or are the value of the one key that is their id."""
    found: dict[str, ManifestProfile] = {}
    for index, entry in enumerate(entries):
        path: Path = (*where, index)
        fields = _mapping(entry, path)
        if "id" not in fields and len(fields) == 1:
            ((id_, inner),) = fields.items()
            path = (*path, id_)
            fields = {**_mapping(inner, path), "id": id_}
        profile = _profile(_required(fields, "id", path), {**defaults, **fields}, path)
        if profile.id in found:
            raise Misfit(path, f"the id {profile.id[:80]} stands here for the second time")
        found[profile.id] = profile
    return tuple(found.values())


def _profile(id_: str, fields: dict[str, object], path: Path) -> ManifestProfile:
    tags = _mapping(fields.get("tags"), (*path, "tags"))
    workspace = fields.get("workspace")
    at = (*path, "workspace")
    return ManifestProfile(
        id=_printable(id_, path),
        tags=_tags(tags, (*path, "tags")),
        model=_text(fields, "model", path),
        release=_text(fields, "release", path),
        container=_text(fields, "container_url", path),
        workspace=tuple(_items(_mapping(workspace, at), at)) if workspace is not None else (),
    )


def _tags(tags: dict[str, object], path: Path) -> dict[str, str]:
    found = {_printable(tag, path): _text(tags, tag, path) or "" for tag in tags}
    for tag in _COUNTS:
        if found.get(tag) and not _COUNT.fullmatch(found[tag]):
            raise Misfit((*path, tag), "a count of GPUs belongs here")
    return found


def _items(workspace: dict[str, object], path: Path) -> Iterator[WorkspaceItem]:
    files = workspace.get("files")
    if files is not None:
        yield from _files(_mapping(files, (*path, "files")), (*path, "files"))
    components = workspace.get("components")
    if components is not None:
        for index, component in enumerate(_list(components, (*path, "components"))):
            at = (*path, "components", index)
            yield from _component(_mapping(component, at), at)


def _files(files: dict[str, object], path: Path) -> Iterator[WorkspaceItem]:
    """Schema 2: a path in the workspace maps to an address and a checksum."""
    for name, entry in files.items():
        at = (*path, name)
        fields = _mapping(entry, at)
        checksum = _text(fields, "checksum", at)
        digests = _digests(checksum, (*at, "checksum")) if checksum else {}
        if not name or name.endswith("/"):
            raise Misfit(at, "this is no path of a file")
        uri = _required(fields, "uri", at)
        yield WorkspaceItem(path=_printable(name, at), uri=uri, digests=digests)


def _component(fields: dict[str, object], path: Path) -> Iterator[WorkspaceItem]:
    """Schema 1: some or all files of a model version go to one directory of the workspace."""
    at = (*path, "src")
    source = _mapping(fields.get("src"), at)
    directory = (_text(fields, "dst", path) or "").strip("/")
    prefix = f"{directory}/" if directory not in ("", ".") else ""
    repository = _text(source, "repo_id", at)
    if repository and "://" not in repository:
        repository = f"ngc://{repository}"
    if "files" not in source:
        yield WorkspaceItem(path=prefix, uri=repository)
        return
    for index, name in enumerate(_list(source["files"], (*at, "files"))):
        where = (*at, "files", index)
        if not isinstance(name, str) or not name:
            raise Misfit(where, "this is no name of a file")
        uri = f"{repository}?file={_printable(name, where)}" if repository else None
        yield WorkspaceItem(path=f"{prefix}{name}", uri=uri)


def _digests(checksum: str, path: Path) -> dict[DigestAlgorithm, str]:
    name, _, hex_ = checksum.lower().partition(":")
    for algorithm in _ALGORITHMS:
        if name == algorithm and len(hex_) == _HEX_DIGITS and set(hex_) <= set("0123456789abcdef"):
            return {algorithm: hex_}
    raise Misfit(path, "this is neither blake3: nor sha256: with 64 hex digits")


def _mapping(value: object, path: Path) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    raise Misfit(path, f"a mapping belongs here, not {_kind(value)}")


def _list(value: object, path: Path) -> list[object]:
    if isinstance(value, list):
        return value
    raise Misfit(path, f"a list belongs here, not {_kind(value)}")


def _required(fields: dict[str, object], key: str, path: Path) -> str:
    text = _text(fields, key, path)
    if not text:
        raise Misfit(path, f"`{key}` is missing")
    return text


def _text(fields: dict[str, object], key: str, path: Path) -> str | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Misfit((*path, key), f"text belongs here, not {_kind(value)}")
    return _printable(value, (*path, key))


def _printable(text: str, path: Path) -> str:
    """Refuse what a terminal would take for commands."""
    if not text.isprintable():
        raise Misfit(path, "it has control or unprintable characters")
    return text


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return "text"
