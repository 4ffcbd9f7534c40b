"""Archives, unpacked while they arrive: tar, tar.gz, tar.zst and zip.

Only regular files and directories come out, below one directory; anything else in an archive is
refused, and nothing is renamed or left out. Permissions and times are not taken over.

Bytes flow through: `decoders` (gzip, zstd) -> `stream` -> `tar` or `zip` -> `staging` (names and
limits) -> `background` (a thread) -> `files` (disk and sha256).
"""

from nimctl.store.extract.extractor import Extractor
from nimctl.store.extract.kinds import Kind, kind_of
from nimctl.store.extract.limits import ExtractLimits
from nimctl.store.extract.members import Member

__all__ = ["ExtractLimits", "Extractor", "Kind", "Member", "kind_of"]
