"""What commands do with `--manifest`, `--endpoint` and `--image`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nimctl.cli.render import Output
    from nimctl.core.memory import CapacityWish
    from nimctl.core.nim_manifest import FoundManifest, ManifestSource
    from nimctl.core.profile import Wish
    from nimctl.tools import Tools


def read(
    source: "ManifestSource", tools: "Tools", output: "Output", *, pull_image: bool
) -> "FoundManifest":
    """Read the manifest, with the progress of a pull if it takes one."""
    from nimctl.manifest_lookup import find_manifest

    with output.progress() as progress:
        return find_manifest(source, tools, progress, pull_image=pull_image)


def list_profiles(
    manifest: "FoundManifest",
    wish: "Wish",
    capacity: "CapacityWish",
    tools: "Tools",
    output: "Output",
) -> None:
    """Print the profiles of a manifest."""
    from nimctl.cli.nim_listing import nim_lines
    from nimctl.cli.profile_documents import listed_manifest
    from nimctl.survey import survey_manifest

    host = tools.host()
    found = survey_manifest(manifest.manifest, host, tools, capacity)
    for note in found.notes:
        output.note(note)
    report = listed_manifest(manifest, found, found.choice(found.understood(wish)), host)
    output.data(report, lambda: nim_lines(report))


def explain(
    manifest: "FoundManifest",
    wish: "Wish",
    capacity: "CapacityWish",
    tools: "Tools",
    output: "Output",
    *,
    name: str,
) -> None:
    """Print everything about one profile of a manifest."""
    import msgspec

    from nimctl.cli.explanation import explanation_lines
    from nimctl.cli.profile_documents import explained, manifest_facts, name_of
    from nimctl.core.profile import Wish
    from nimctl.survey import survey_manifest

    host = tools.host()
    found = survey_manifest(manifest.manifest, host, tools, capacity)
    for note in found.notes:
        output.note(note)
    one = found.matching(found.understood(Wish(profile=name, named_by="--explain")))[0]
    choice = found.choice(found.understood(wish))
    report = msgspec.structs.replace(
        explained(one, found, choice, host, name_of(manifest)), manifest=manifest_facts(manifest)
    )
    output.data(report, lambda: explanation_lines(report))
