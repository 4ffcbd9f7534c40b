"""`python -m nimctl` and the `nimctl` program."""

import gc
import sys

# Imports make much that stays. Looking for cycles among it took a twentieth of a start.
_ALLOCATIONS_BETWEEN_COLLECTIONS = 50_000


def main() -> None:
    """Run and exit with the status."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        # Answered before anything is imported: scripts ask this often.
        from nimctl import __version__

        sys.stdout.write(f"nimctl {__version__}\n")
        return
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)
    from nimctl.cli.app import leave
    from nimctl.cli.app import main as run

    leave(run())


if __name__ == "__main__":
    main()
