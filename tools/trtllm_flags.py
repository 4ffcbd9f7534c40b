"""Write nimctl/core/trtllm/flag_table.py from the recorded flags; with --check, only compare.

The whole record stays in tests/data; the package carries what an override is checked against.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "tests" / "data" / "trtllm_flags.json"
TABLE = ROOT / "nimctl" / "core" / "trtllm" / "flag_table.py"
TOOLS = {
    "trtllm-build": "trtllm-build",
    "convert_checkpoint.py": "convert_checkpoint.llama",
    "quantize.py": "quantize.py",
}
# The record writes what argparse calls the types of these two; both take one word.
TYPES = {"KVCacheType": "str", "str": "str", "int": "int", "float": "float", "bool": "bool"}


def table() -> str:
    """The module's text, formatted."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    lines = [
        '"""The flags of TensorRT-LLM\'s builders: made by tools/trtllm_flags.py, not by hand."""',
        "",
        "from nimctl.core.trtllm.flag import Flag",
        "",
        "FLAGS: dict[str, dict[str, Flag]] = {",
    ]
    for tool, name in TOOLS.items():
        meta = record[name]["_meta"]
        lines.append(f"    # {meta['version']}")
        lines.append(f"    # {meta['source']}")
        lines.append(f"    {tool!r}: {{")
        lines.extend(_flags(record[name]))
        lines.append("    },")
    lines.append("}")
    return _formatted("\n".join(lines) + "\n")


def _flags(entries: dict[str, Any]) -> Iterator[str]:
    for name, entry in entries.items():
        if not name.startswith("--"):
            continue
        fields = [f"kind={TYPES[entry['type']]!r}"]
        choices = [one for one in entry["choices"] or () if one is not None]
        if choices:
            fields.append(f"choices={tuple(str(one) for one in choices)!r}")
        if entry.get("aliases"):
            fields.append(f"aliases={tuple(entry['aliases'])!r}")
        if entry.get("action") == "store_true":
            fields.append("switch=True")
        if entry.get("nargs") == "+":
            fields.append("several=True")
        yield f"        {name!r}: Flag({', '.join(fields)}),"


def _formatted(text: str) -> str:
    ruff = str(Path(sys.executable).parent / "ruff")
    argv = [ruff, "format", "--stdin-filename", str(TABLE), "-"]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=True)
    return done.stdout


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        TABLE.write_text(table(), encoding="utf-8")
        return 0
    if TABLE.read_text(encoding="utf-8") == table():
        return 0
    print(f"{TABLE} is not what tools/trtllm_flags.py makes", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
