"""The router in front of replicas: HAProxy's configuration, from what is to be balanced.

Each choice was measured, or read in https://docs.haproxy.org/2.6/configuration.html. Without
`http-no-delay` small chunks of a stream wait in the kernel (116 ms between tokens instead of 5);
`disable-on-404` and `leastconn` let a replica drain; `observe layer4` takes a dead one out before
the next health check. What becomes of the requests of one that dies: docs/adr/0016.
"""

from collections.abc import Iterator

from nimctl.core.servers import LOOPBACK
from nimctl.core.value import Value

_KEY_REFUSED = (
    '{"error":{"message":"invalid api key","type":"invalid_request_error",'
    '"code":"invalid_api_key"}}'
)


SOCKET = "router.sock"
# What a router is called where others are called by their backend.
ROUTER = "router"


class Replica(Value):
    """One server behind the router; `weight` is its share when replicas differ."""

    name: str
    port: int
    weight: int = 100


def router_socket(directory: str) -> str:
    """Where the HAProxy of a router's directory takes commands."""
    return f"{directory}/{SOCKET}"


def haproxy_argv(router: "Router", program: str = "haproxy") -> tuple[str, ...]:
    """HAProxy's command line: master and worker, in the foreground."""
    return (program, "-W", "-db", "-C", router.directory, "-f", router.config_file)


class Router(Value):
    """What is balanced, and how it is reached.

    `directory` holds the configuration, the socket for commands and, with `checks_keys`, the
    sha256 of each key; a copy of `certificate` lies there too. `max_requests` is how many requests
    a replica takes at once; the others wait in the router, where they can go to whichever replica
    is free first.
    """

    name: str
    directory: str
    address: str
    port: int
    replicas: tuple[Replica, ...]
    health_path: str
    checks_keys: bool = False
    certificate: str | None = None
    max_requests: int | None = None

    @property
    def guards_metrics(self) -> bool:
        """Whether metrics need a key: on this machine alone whoever asks may count requests."""
        return self.checks_keys and self.address not in LOOPBACK

    @property
    def socket(self) -> str:
        """Where HAProxy takes commands."""
        return router_socket(self.directory)

    @property
    def config_file(self) -> str:
        """HAProxy's configuration."""
        return f"{self.directory}/haproxy.cfg"

    @property
    def certificate_file(self) -> str:
        """A copy of the certificate and its key, which the router's user can read."""
        return f"{self.directory}/tls.pem"

    @property
    def hashes_file(self) -> str:
        """The sha256 of each API key, in hex, one a line."""
        return f"{self.directory}/keys.sha256"


def haproxy_config(router: Router) -> str:
    """The configuration file."""
    return "\n".join(_lines(router)) + "\n"


def _lines(router: Router) -> Iterator[str]:
    yield f"# The router of {router.name}, written anew by nimctl when it is started."
    yield "global"
    yield "    maxconn 8192"
    # Found in the directory that HAProxy changes to, since a socket's path has 107 bytes at most.
    yield f"    stats socket unix@{SOCKET} mode 600 level admin"
    # Streams that are open when the router is asked to stop are finished.
    yield "    hard-stop-after 10m"
    yield "defaults"
    for line in (
        "mode http",
        # No connection of a replica is used twice: llama.cpp closes one after a stream and does not
        # say so before, and all close idle ones after a time, just when a request is sent on it.
        "option http-server-close",
        "option http-no-delay",
        # Who asked has gone: the replica need not finish the answer.
        "option abortonclose",
        "option redispatch 1",
        # Docker's proxy takes connections for a dead replica for up to 0.2 s and drops them at
        # once. Each is a retry (320 seen), and as it is idle, that replica gets most of them.
        "retries 10000",
        "timeout connect 2s",
        # Silence between two tokens, not the time of a whole answer.
        "timeout client 10m",
        "timeout server 10m",
        "timeout queue 60s",
        "timeout http-request 10s",
        "timeout http-keep-alive 60s",
    ):
        yield f"    {line}"
    yield from _frontend(router)
    yield from _backend(router)


def _frontend(router: Router) -> Iterator[str]:
    address = f"[{router.address}]" if ":" in router.address else router.address
    tls = f" ssl crt {router.certificate_file} alpn h2,http/1.1" if router.certificate else ""
    yield "frontend openai"
    yield f"    bind {address}:{router.port}{tls}"
    # The whole request is here before a replica is chosen, so that it can go to another one.
    yield "    option http-buffer-request"
    yield from _answers("/v1/health/ready", "ready", condition=" { nbsrv(replicas) ge 1 }")
    yield from _answers("/v1/health/live", "live")
    metrics = "    http-request use-service prometheus-exporter if { path /router/metrics }"
    if not router.guards_metrics:
        yield metrics
    if router.checks_keys:
        digest = "req.hdr(authorization),word(2,' '),sha2(256),hex,lower"
        yield f"    http-request set-var(txn.key) {digest}"
        yield (
            "    http-request deny deny_status 401 content-type application/json"
            f" string '{_KEY_REFUSED}'"
            f" unless {{ var(txn.key) -m str -f {router.hashes_file} }}"
        )
        yield "    http-request del-header authorization"
    if router.guards_metrics:
        yield metrics
    yield "    default_backend replicas"


def _answers(path: str, word: str, *, condition: str = "") -> Iterator[str]:
    def line(status: int, text: str, extra: str) -> str:
        body = f'{{"object":"health.response","message":"{text}"}}'
        return (
            f"    http-request return status {status} content-type application/json"
            f" string '{body}' if {{ path {path} }}{extra}"
        )

    yield line(200, word, condition)
    if condition:
        yield line(503, f"not {word}", "")


def _backend(router: Router) -> Iterator[str]:
    yield "backend replicas"
    # Fewest requests in flight: answers differ too much in length for turns.
    yield "    balance leastconn"
    yield "    option httpchk"
    yield f"    http-check send meth GET uri {router.health_path} hdr Host {router.name}"
    yield "    http-check expect status 200"
    yield "    http-check disable-on-404"
    yield "    retry-on conn-failure empty-response response-timeout 503"
    yield "    http-response set-header X-Served-By %s"
    limit = f" maxconn {router.max_requests}" if router.max_requests else ""
    yield (
        "    default-server check inter 1s fall 3 rise 1 fastinter 250ms observe layer4"
        f" error-limit 3 on-error mark-down{limit}"
    )
    for replica in router.replicas:
        yield f"    server {replica.name} 127.0.0.1:{replica.port} weight {replica.weight}"
