"""Calibration files: what quantisation would fail on after minutes is seen before it begins."""

import csv
import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from nimctl.core.errors import NotFoundError
from nimctl.core.trtllm.subject import SAMPLES, Calibration

# https://parquet.apache.org/docs/file-format/
_PARQUET_MAGIC = b"PAR1"


def read(path: Path) -> Calibration:
    """Look at the texts that quantisation is to use.

    Raises:
        NotFoundError: There is no such file.
    """
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no calibration file {path}") from error
    texts, flaw = inspected(path) if size else (0, None)
    resolved = str(path.resolve())
    return Calibration(path=resolved, sha256=sha256, size=size, texts=texts, flaw=flaw)


def inspected(path: Path) -> tuple[int | None, str | None]:
    """How many texts a file has, up to those that are used, and why the builder cannot read it.

    The texts of a Parquet file are not counted.
    """
    if path.suffix == ".parquet":
        with path.open("rb") as file:
            found = file.read(len(_PARQUET_MAGIC))
        return None, None if found == _PARQUET_MAGIC else "it is no Parquet file"
    number = 0
    try:
        for number, row in enumerate(islice(_rows(path), SAMPLES), 1):
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                return None, f"entry {number} has no text in a field `text`"
    except UnicodeDecodeError:
        return None, "it is not in UTF-8"
    except (ValueError, csv.Error) as error:
        return None, f"it is no {path.suffix.removeprefix('.').upper()}: {error}"
    return number, None


def _rows(path: Path) -> Iterator[object]:
    with path.open(encoding="utf-8", newline="") as file:
        match path.suffix:
            case ".jsonl":
                yield from (json.loads(line) for line in file if line.strip())
            case ".json":
                yield from _documents(file.read())
            case ".csv":
                yield from csv.DictReader(file)
            case ".txt":
                yield from ({"text": line} for line in file)


def _documents(text: str) -> list[object]:
    # One list, or an object a line: the builder's reader takes both.
    try:
        found = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return found if isinstance(found, list) else [found]
