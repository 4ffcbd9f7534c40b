"""`python -m nimctl` and the `nimctl` program."""

import contextlib
import os
import sys


def main() -> None:
    """Run and exit with the status."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        # Answered before anything is imported: scripts ask this often.
        from nimctl import __version__

        sys.stdout.write(f"nimctl {__version__}\n")
        return
    from nimctl.cli.app import main as run

    status = run()
    for stream in (sys.stdout, sys.stderr):
        # What could not be written was an error already.
        with contextlib.suppress(OSError):
            stream.flush()
    # Everything is closed. Python would take 30 ms more to take 700 modules apart.
    os._exit(status)


if __name__ == "__main__":
    main()
