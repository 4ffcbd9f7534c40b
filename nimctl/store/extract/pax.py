"""Extended headers of the pax format: lines `LENGTH KEY=VALUE`, which change the next entry.

https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html, section pax Extended Header.
"""

import re

from nimctl.store.extract.refusals import malformed

_LENGTH = re.compile(rb"([1-9][0-9]{0,9}) ")


def parse_records(body: bytes) -> dict[bytes, bytes]:
    """Read the records; of two with one key, the later holds.

    Raises:
        VerificationError: They are malformed.
    """
    records = {}
    start = 0
    while start < len(body):
        length = _LENGTH.match(body, start)
        end = start + int(length[1]) if length else 0
        if length is None or not length.end() < end <= len(body) or body[end - 1] != ord("\n"):
            raise malformed("an extended header's record is malformed")
        key, equals, value = body[length.end() : end - 1].partition(b"=")
        if not key or not equals:
            raise malformed("an extended header's record has no key or no value")
        records[key] = value
        start = end
    return records
