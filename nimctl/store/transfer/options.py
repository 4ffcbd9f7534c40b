"""What a user may set about transfers; values only."""

from nimctl.core.value import Value


class TransferOptions(Value):
    """How files are fetched.

    `connections`, at least one, are shared by all files of one fetch; `max_rate` is bytes per
    second of all of them together. A failure counts against `retries` only if not one byte came
    since the last. `proxies` has the keys `http`, `https`, `all` (URLs) and `no` (a comma-separated
    list); `ca_file` replaces the system's certificate authorities.
    """

    connections: int = 8
    max_rate: int | None = None
    connect_timeout_s: float = 10.0
    stall_timeout_s: float = 30.0
    retries: int = 6
    backoff_s: float = 0.5
    backoff_limit_s: float = 30.0
    retry_after_limit_s: float = 300.0
    range_bytes: int = 16 * 2**20
    checkpoint_s: float = 2.0
    proxies: dict[str, str] = {}
    ca_file: str | None = None
    netrc_file: str | None = None

    def __post_init__(self) -> None:
        if self.connections < 1:
            raise ValueError("a transfer needs a connection")
