"""Start llama.cpp's server and let it serve until a signal ends the process."""

import sys
import threading
import time
from collections.abc import Sequence

import xllamacpp

from nimctl.serving.llama_server import startlog
from nimctl.serving.llama_server.options import Options, parse
from nimctl.serving.llama_server.params import StartError, to_params
from nimctl.serving.llama_server.stopping import Stopper, die_with_parent

_LOG_DELAY_S = 0.2


def main(argv: Sequence[str] | None = None) -> int:
    """Serve; returns 1 when the server cannot start, and otherwise never."""
    options = parse(argv)
    stopper = Stopper(grace_s=options.grace)
    stopper.watch()
    if options.die_with_parent is not None:
        die_with_parent(options.die_with_parent)
    try:
        server = start(options)
    except StartError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    stopper.serving(server)
    sys.stdout.write(f"listening on {server.listening_address}\n")
    sys.stdout.flush()
    threading.Event().wait()  # `server` has to live; a signal ends the process, see `stopping`
    return 0


def start(options: Options) -> xllamacpp.Server:
    """Load the model and begin to serve.

    Raises:
        StartError: Something that the options name is unusable.
    """
    log_start = startlog.position()
    try:
        return xllamacpp.Server(to_params(options))
    except (RuntimeError, ValueError) as error:
        time.sleep(_LOG_DELAY_S)  # llama.cpp writes its log from a thread of its own
        reason = startlog.first_error(log_start) or "its log, above, has the reason"
        raise StartError(f"llama.cpp did not start: {reason}") from error


if __name__ == "__main__":
    sys.exit(main())
