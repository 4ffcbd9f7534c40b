"""Settings: flags over `NIMCTL_*` over config.toml over defaults.

Only this module reads the environment.

A flag is set for all runs by `NIMCTL_<COMMAND>_<FLAG>` or by `flag = …` under `[command]` in
`$XDG_CONFIG_HOME/nimctl/config.toml`; `home` at its top sets `NIMCTL_HOME`, `engines_limit` sets
`NIMCTL_ENGINES_LIMIT`, beyond which engines that were used least recently go, and `[mirrors]` maps
`ngc` and `hf` to mirrors, as do `NIMCTL_MIRROR_NGC` and `NIMCTL_MIRROR_HF`.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nimctl import credentials
from nimctl.core.aws import AwsKey, AwsSettings
from nimctl.core.containers import EngineAccess
from nimctl.core.errors import UsageError
from nimctl.core.sizes import parse_size
from nimctl.core.value import Value
from nimctl.credentials import Credentials

_PREFIX = "NIMCTL_"
_MIRRORED = ("hf", "ngc")
_ENVIRONMENT_ONLY = ("NIMCTL_HOME", "NIMCTL_CONFIG", "NIMCTL_ENGINES_LIMIT")


class Settings(Value):
    """What the environment and config.toml say.

    `flags` maps a command to its flags' values, as text or as TOML has them. `hf_token`,
    `ngc_api_key`, `ngc_guest_token`, `logins`, `aws` and `variables`, all of the environment, are
    or have secrets. `engines_limit` is in bytes.
    """

    home: str
    engines_limit: int | None = None
    profiles_directory: str
    credentials_file: str
    flags: dict[str, dict[str, Any]] = {}
    color: bool = True
    hf_endpoint: str = "https://huggingface.co"
    hf_token: str | None = None
    logins: Credentials = Credentials()
    hf_cache: str | None = None
    hf_offline: bool = False
    docker_auth_files: tuple[str, ...] = ()
    ollama_key: str
    container_engine: EngineAccess = EngineAccess()
    nim_cache: str
    ngc_api_key: str | None = None
    ngc_guest_token: str | None = None
    ngc_config: str
    ngc_api_url: str = "https://api.ngc.nvidia.com"
    ngc_auth_url: str = "https://authn.nvidia.com"
    mirrors: dict[str, str] = {}
    aws: AwsSettings
    nim_profile: str | None = None
    nim_tags: str | None = None
    nim_adapters: str | None = None
    proxies: dict[str, str] = {}
    variables: dict[str, str] = {}
    ca_file: str | None = None
    netrc_file: str | None = None
    search_path: str = os.defpath

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Settings(home={self.home!r})"


def load(environ: Mapping[str, str] | None = None, *, commands: Iterable[str] = ()) -> Settings:
    """Read the environment and config.toml; `commands` are the names that flags may belong to.

    `environ` stands for the process's own.

    Raises:
        UsageError: config.toml cannot be read or holds what nimctl does not know.
    """
    environ = os.environ if environ is None else environ  # noqa: TID251 - the only reader
    user = Path(environ.get("HOME") or "/").expanduser()
    config_home = Path(environ.get("XDG_CONFIG_HOME") or user / ".config")
    data_home = Path(environ.get("XDG_DATA_HOME") or user / ".local" / "share")
    config = _read_config(environ, config_home / "nimctl" / "config.toml")
    home = environ.get("NIMCTL_HOME") or config.pop("home", None) or data_home / "nimctl"
    config.pop("home", None)
    limit = environ.get("NIMCTL_ENGINES_LIMIT") or config.pop("engines_limit", None)
    config.pop("engines_limit", None)
    mirrors = _mirrors(environ, config.pop("mirrors", {}))
    names = {name.upper().replace("-", "_"): name for name in commands}
    kept = config_home / "nimctl" / "credentials.json"
    logins = credentials.load(kept)
    # https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables#hfhome
    cache_home = Path(environ.get("XDG_CACHE_HOME") or user / ".cache")
    hf_home = Path(environ.get("HF_HOME") or cache_home / "huggingface")
    return Settings(
        home=str(Path(home).expanduser().absolute()),
        engines_limit=_size(limit, "NIMCTL_ENGINES_LIMIT"),
        profiles_directory=str(config_home / "nimctl" / "profiles"),
        credentials_file=str(kept),
        logins=logins,
        flags=_flags(environ, config, names),
        color=not environ.get("NO_COLOR") and environ.get("TERM") != "dumb",
        hf_endpoint=environ.get("HF_ENDPOINT") or "https://huggingface.co",
        hf_token=_hf_token(environ, logins, hf_home),
        hf_cache=environ.get("HF_HUB_CACHE") or str(hf_home / "hub"),
        hf_offline=_truthy(environ.get("HF_HUB_OFFLINE")),
        # Which goes first is documented for NIM; the rest of NVIDIA's tools read only one of them.
        ngc_api_key=_first(environ, "NGC_CLI_API_KEY", "NGC_API_KEY") or logins.ngc,
        ngc_guest_token=_first(environ, "NGC_CLI_GUEST_TOKEN"),
        ngc_config=str(Path(environ.get("NGC_CLI_HOME") or user) / ".ngc" / "config"),
        ngc_api_url=_ngc_url(environ, "NGC_CLI_API_URL", "NGC_API_ENDPOINT")
        or "https://api.ngc.nvidia.com",
        ngc_auth_url=_ngc_url(environ, "NGC_CLI_AUTH_URL", "NGC_AUTH_ENDPOINT")
        or "https://authn.nvidia.com",
        mirrors=mirrors,
        aws=_aws(environ, user),
        docker_auth_files=_docker_auth_files(environ, user, config_home),
        ollama_key=str(user / ".ollama" / "id_ed25519"),
        container_engine=_container_engine(environ, user),
        nim_profile=environ.get("NIM_MODEL_PROFILE") or None,
        nim_tags=environ.get("NIM_TAGS_SELECTOR") or None,
        nim_adapters=environ.get("NIM_PEFT_SOURCE") or None,
        nim_cache=_first(environ, "LOCAL_NIM_CACHE", "NIM_CACHE_PATH")
        or str(user / ".cache" / "nim"),
        proxies=_proxies(environ),
        variables=dict(environ),
        ca_file=environ.get("SSL_CERT_FILE") or environ.get("REQUESTS_CA_BUNDLE"),
        netrc_file=environ.get("NETRC") or str(user / ".netrc"),
        search_path=environ.get("PATH", os.defpath),
    )


def _size(value: object, name: str) -> int | None:
    if value is None:
        return None
    size = parse_size(str(value))
    if size is None:
        raise UsageError(f"{name} is no size: {value}", hint="such as 200GiB")
    return size


def _read_config(environ: Mapping[str, str], default: Path) -> dict[str, Any]:
    named = environ.get("NIMCTL_CONFIG")
    path = Path(named) if named else default
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if named:
            raise UsageError(f"NIMCTL_CONFIG names {path}, which does not exist") from None
        return {}
    import tomllib  # noqa: PLC0415 - most runs have no config.toml and need no parser

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no valid TOML", cause=str(error)) from error


def _flags(
    environ: Mapping[str, str], config: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    flags: dict[str, dict[str, Any]] = {name: {} for name in names.values()}
    for section, values in config.items():
        if section not in flags or not isinstance(values, dict):
            raise UsageError(
                f"`{section}` in config.toml is not understood",
                cause="sections are named after commands: " + ", ".join(sorted(flags)),
            )
        flags[section].update({key.replace("-", "_"): value for key, value in values.items()})
    for variable, value in environ.items():
        if not variable.startswith(_PREFIX) or variable in _ENVIRONMENT_ONLY:
            continue
        rest = variable.removeprefix(_PREFIX)
        prefixes = [prefix for prefix in names if rest.startswith(f"{prefix}_")]
        if prefixes:
            longest = max(prefixes, key=len)
            flags[names[longest]][rest.removeprefix(f"{longest}_").lower()] = value
    return flags


def _hf_token(environ: Mapping[str, str], logins: Credentials, hf_home: Path) -> str | None:
    token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN") or logins.hf
    if token:
        return token.strip()
    if "hf" in logins.keyring:
        return None  # which is read when it is needed
    try:
        path = Path(environ.get("HF_TOKEN_PATH") or hf_home / "token")
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _ngc_url(environ: Mapping[str, str], *names: str) -> str | None:
    """The first that is set; without a scheme, as Artifactory's users set it, NGC_API_SCHEME's.

    https://jfrog.com/help/r/jfrog-artifactory-documentation/connect-your-nvidia-nim-model-client-to-artifactory
    """
    value = _first(environ, *names)
    if value is None or "://" in value:
        return value
    return f"{environ.get('NGC_API_SCHEME') or 'https'}://{value}"


def _mirrors(environ: Mapping[str, str], configured: object) -> dict[str, str]:
    """Scheme to the mirror that stands for its registry.

    NIM_REPOSITORY_OVERRIDE is NIM's own:
    https://docs.nvidia.com/nim/large-language-models/latest/nim-repository-override.html
    """
    if not isinstance(configured, dict) or configured.keys() - set(_MIRRORED):
        raise UsageError(
            "`[mirrors]` in config.toml is not understood",
            cause="it maps these to URLs: " + ", ".join(_MIRRORED),
        )
    named = {
        scheme: _first(environ, f"NIMCTL_MIRROR_{scheme.upper()}", "NIM_REPOSITORY_OVERRIDE")
        or configured.get(scheme)
        for scheme in _MIRRORED
    }
    given = {scheme: str(url) for scheme, url in named.items() if url}
    if given:
        from nimctl.core.mirrors import checked_mirror  # noqa: PLC0415 - most sites have no mirror

        given = {scheme: checked_mirror(url) for scheme, url in given.items()}
    return given


def _aws(environ: Mapping[str, str], user: Path) -> AwsSettings:
    directory = user / ".aws"
    access_key_id = _first(environ, "AWS_ACCESS_KEY_ID")
    secret = _first(environ, "AWS_SECRET_ACCESS_KEY")
    key = None
    if access_key_id and secret:
        key = AwsKey(
            access_key_id=access_key_id,
            secret_access_key=secret,
            session_token=_first(environ, "AWS_SESSION_TOKEN"),
        )
    return AwsSettings(
        key=key,
        profile=_first(environ, "AWS_PROFILE"),
        region=_first(environ, "AWS_REGION", "AWS_DEFAULT_REGION"),
        endpoint=_first(environ, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        credentials_file=environ.get("AWS_SHARED_CREDENTIALS_FILE")
        or str(directory / "credentials"),
        config_file=environ.get("AWS_CONFIG_FILE") or str(directory / "config"),
    )


def _docker_auth_files(
    environ: Mapping[str, str], user: Path, config_home: Path
) -> tuple[str, ...]:
    """Own logins first, then where podman and docker keep theirs (containers-auth.json(5))."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    docker = Path(environ.get("DOCKER_CONFIG") or user / ".docker")
    places = (
        config_home / "nimctl" / "credentials.json",
        environ.get("REGISTRY_AUTH_FILE"),
        Path(runtime) / "containers" / "auth.json" if runtime else None,
        config_home / "containers" / "auth.json",
        docker / "config.json",
    )
    return tuple(str(place) for place in places if place)


def _container_engine(environ: Mapping[str, str], user: Path) -> EngineAccess:
    """As the docker command has it: https://docs.docker.com/reference/cli/docker/#environment-variables.

    Then Podman's variable, and where rootful and rootless Docker and Podman listen.
    """
    runtime = environ.get("XDG_RUNTIME_DIR")
    config = environ.get("DOCKER_CONFIG") or str(user / ".docker")
    sockets = (
        "/var/run/docker.sock",
        f"{runtime}/docker.sock" if runtime else None,
        "/run/podman/podman.sock",
        f"{runtime}/podman/podman.sock" if runtime else None,
    )
    return EngineAccess(
        host=_first(environ, "DOCKER_HOST")
        or (None if environ.get("DOCKER_CONTEXT") else _first(environ, "CONTAINER_HOST")),
        context=_first(environ, "DOCKER_CONTEXT"),
        config_directory=config,
        tls=bool(environ.get("DOCKER_TLS")),
        tls_verify=bool(environ.get("DOCKER_TLS_VERIFY")),
        certificates=environ.get("DOCKER_CERT_PATH") or config,
        sockets=tuple(socket for socket in sockets if socket),
    )


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    # curl and Python read both spellings, the lower-case one first.
    found = {
        name: environ.get(f"{name}_proxy") or environ.get(f"{name}_proxy".upper())
        for name in ("http", "https", "no", "all")
    }
    return {name: value for name, value in found.items() if value}


def _first(environ: Mapping[str, str], *names: str) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)


def _truthy(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes", "on")
