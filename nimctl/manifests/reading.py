"""From bytes to a manifest: strangers' YAML, with the place of whatever is wrong in it."""

from nimctl import safe_yaml
from nimctl.core.errors import VerificationError
from nimctl.core.nim_manifest import YAML_TAGS, Misfit, NimManifest, read_manifest


def parse(data: bytes, name: str) -> NimManifest:
    """Read a manifest, or the answer of `/v1/manifest` that has one in it.

    Raises:
        VerificationError: It is no manifest, or hostile; the cause has line and path.
    """
    tree = _read(data, name)
    if isinstance(tree, dict) and tree.keys() == {"manifest_file"}:
        inner = tree["manifest_file"]
        if isinstance(inner, str):
            data, name = inner.encode(), f"the manifest in {name}"
            tree = _read(data, name)
    try:
        return read_manifest(tree)
    except Misfit as misfit:
        where = safe_yaml.place(safe_yaml.line_of(data, misfit.path), misfit.path)
        raise VerificationError(
            f"{name} is no NIM manifest", cause=f"{where}: {misfit.problem}"
        ) from None


def _read(data: bytes, name: str) -> safe_yaml.Tree:
    return safe_yaml.read(data, name, tags=YAML_TAGS, as_text=True)
