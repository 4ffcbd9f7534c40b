"""CPU of short commands, against bare Python and `hf`, in the same run."""

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from measure import cpu_ms, in_turns, machine

BIN = Path(sys.executable).parent
ROUNDS = 15


def main() -> None:
    """Print a table: median CPU, and the ratio to bare Python."""
    with tempfile.TemporaryDirectory() as home:
        environ = {"HOME": home, "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"}
        commands: dict[str, list[str | Path]] = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "nimctl --version": [BIN / "nimctl", "--version"],
            "nimctl --help": [BIN / "nimctl", "--help"],
            "nimctl serve --help": [BIN / "nimctl", "serve", "--help"],
            "nimctl ps": [BIN / "nimctl", "ps"],
            "nimctl list-profiles": [BIN / "nimctl", "list-profiles"],
            "hf version": [BIN / "hf", "version"],
            "hf --help": [BIN / "hf", "--help"],
        }
        candidates = {name: partial(cpu_ms, argv, environ) for name, argv in commands.items()}
        medians = in_turns(candidates, ROUNDS)
    bare = medians["python -c pass"]
    print(f"{machine()}; median of {ROUNDS}, in turns\n")
    print("| command | CPU ms | ratio to bare Python |\n|---|---|---|")
    for name, figure in medians.items():
        print(f"| `{name}` | {figure:.0f} | {figure / bare:.1f} |")


if __name__ == "__main__":
    main()
