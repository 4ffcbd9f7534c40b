"""The two ways in which an archive is refused, in one wording."""

from nimctl.core.errors import VerificationError


def malformed(why: str) -> VerificationError:
    """The archive contradicts its format or itself, or is cut off."""
    return VerificationError(
        "the archive is malformed",
        cause=why,
        hint="pull it again; if that does not help, tell whoever published it",
    )


def refused(member: str, why: str) -> VerificationError:
    """The archive is sound, but an entry is nothing that nimctl unpacks."""
    return VerificationError(
        f"the archive's entry {member!r} is refused",
        cause=why,
        hint="ask whoever published it for an archive of plain files and directories",
    )
