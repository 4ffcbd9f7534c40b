"""`python -m nimctl.engines.gguf`: convert one checkpoint, as a command that a person can run."""

import argparse
import sys
from pathlib import Path

from nimctl.core.errors import Exit, NimctlError


def main(argv: list[str] | None = None) -> int:
    """Convert, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m nimctl.engines.gguf",
        description="Convert a Hugging Face checkpoint (safetensors) to one GGUF file.",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="DIR")
    parser.add_argument("--precision", choices=("f16", "q8_0"), required=True)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.gguf")
    options = parser.parse_args(argv)

    # numpy and gguf come with it, which `--help` does not need.
    from nimctl.engines.gguf.convert import convert  # noqa: PLC0415

    try:
        convert(
            options.checkpoint, options.output, precision=options.precision, progress=_show_percent
        )
    except NimctlError as error:
        parts = (("error", error.message), ("cause", error.cause), ("hint", error.hint))
        sys.stderr.writelines(f"{name}: {text}\n" for name, text in parts if text)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    return int(Exit.OK)


def _show_percent(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{100 * done // max(total, 1)} %" + ("\n" if done == total else ""))


if __name__ == "__main__":
    sys.exit(main())
