"""From a file to what is to be known before it is loaded."""

import io
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import assert_never

from nimctl.core.findings import Finding
from nimctl.store.formats.arrays import skip_to_pickle
from nimctl.store.formats.budget import Budget, ScanLimits
from nimctl.store.formats.findings import LimitError, Member, UnreadableError, shown
from nimctl.store.formats.kinds import HEAD_BYTES, Kind, is_expected, kind_of, must_be_pickle
from nimctl.store.formats.pickles import scan_pickles
from nimctl.store.formats.safetensors import check_safetensors
from nimctl.store.formats.sources import GZIP, inflated, stretch
from nimctl.store.formats.tars import tar_members
from nimctl.store.formats.zips import zip_members

_NOTE = "is a pickle, which can run code when it is loaded; prefer safetensors"
_MOST_DANGERS = 20
_CALLED: dict[Kind | None, str] = {
    "safetensors": "safetensors",
    "zip": "a zip archive",
    "tar": "a tar archive",
    "tar.gz": "a compressed tar archive",
    "array": "an array",
    "pickle": "a pickle",
    None: "a member of its archive",
}


def inspect_file(path: Path, name: str, limits: ScanLimits | None = None) -> tuple[Finding, ...]:
    """Look into a file of weights without loading it; `name` is its path inside the model.

    Raises:
        VerificationError: It is a malformed safetensors file, or holds one.
    """
    with path.open("rb", buffering=0) as file:
        if kind_of(PurePosixPath(name), file.read(HEAD_BYTES)) is None:
            return ()
    file_bytes = path.stat().st_size
    inspection = _Inspection(name, Budget(limits or ScanLimits(), file_bytes))
    with path.open("rb") as file:
        inspection.look_at(stretch(file, 0, file_bytes), ())
    return inspection.findings()


class _Inspection:
    """Goes through one file and, as far as that is an archive, the files in it."""

    def __init__(self, name: str, budget: Budget) -> None:
        self._name = name
        self._budget = budget
        self._dangers: dict[str, None] = {}
        self._has_pickles = False
        self._is_over = False

    def findings(self) -> tuple[Finding, ...]:
        """All dangers, or else a note if there is a pickle."""
        if self._dangers:
            return tuple(
                Finding(path=self._name, severity="danger", message=message)
                for message in self._dangers
            )
        if self._has_pickles:
            return (Finding(path=self._name, severity="note", message=_NOTE),)
        return ()

    def look_at(self, source: io.BufferedReader, members: tuple[str, ...]) -> None:
        """Look at the file, or at a member of a member of it."""
        path = PurePosixPath(members[-1] if members else self._name)
        kind: Kind | None = None
        try:
            head = source.read(HEAD_BYTES)
            source.seek(0)
            kind = kind_of(path, head)
            if kind is not None:
                self._open(source, kind, members, is_certain=must_be_pickle(path, head))
        except UnreadableError as error:
            is_over_limit = isinstance(error, LimitError)
            if is_over_limit or is_expected(path):
                self._report_failure(kind, str(error), members)
            self._is_over |= is_over_limit

    def _open(
        self, source: io.BufferedReader, kind: Kind, members: tuple[str, ...], *, is_certain: bool
    ) -> None:
        match kind:
            case "safetensors":
                check_safetensors(source, "/".join((self._name, *members)))
            case "zip":
                self._look_into(zip_members(source, self._budget), members)
            case "tar.gz":
                unpacked = inflated(source, GZIP, self._budget)
                self._look_into(tar_members(unpacked, self._budget), members)
            case "tar":
                self._look_into(tar_members(source, self._budget), members)
                # A tar archive begins with a name, which may be the beginning of a pickle.
                source.seek(0)
                self._scan(source, members, is_certain=False)
            case "array":
                if skip_to_pickle(source):
                    self._scan(source, members, is_certain=False)
            case "pickle":
                self._scan(source, members, is_certain=is_certain)
            case _:
                assert_never(kind)

    def _look_into(self, found: Iterable[Member], members: tuple[str, ...]) -> None:
        if len(members) >= self._budget.limits.archive_depth:
            raise UnreadableError(f"archives lie in archives more than {len(members)} deep")
        for member in found:
            self.look_at(member.content, (*members, member.name))
            if self._is_over:
                return

    def _scan(
        self, source: io.BufferedReader, members: tuple[str, ...], *, is_certain: bool
    ) -> None:
        scan = scan_pickles(source, self._budget)
        self._has_pickles |= scan.pickles > 0
        for problem in scan.problems:
            self._report(problem, members)
        is_damaged = not scan.pickles and (is_certain or scan.imports > 0)
        if scan.failure and (is_damaged or scan.is_over_limit):
            self._report_failure("pickle", scan.failure, members)
        self._is_over |= scan.is_over_limit

    def _report_failure(self, kind: Kind | None, why: str, members: tuple[str, ...]) -> None:
        self._report(f"cannot be read as {_CALLED[kind]}: {why}", members)

    def _report(self, what: str, members: tuple[str, ...]) -> None:
        if len(self._dangers) >= _MOST_DANGERS:
            self._is_over = True
            return
        where = f", in {shown('/'.join(members))}" if members else ""
        self._dangers[what + where] = None
