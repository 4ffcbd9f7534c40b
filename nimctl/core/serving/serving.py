"""What a server was asked to be, before it is said in the words of one backend."""

from nimctl.core.catalogue import Nim
from nimctl.core.containers import Devices
from nimctl.core.memory import CapacityWish
from nimctl.core.profile import Profile
from nimctl.core.value import Value

# Where things lie inside every container that nimctl starts.
MODELS = "/models"
ENGINES = "/engines"
ADAPTERS = "/adapters"
OPTIONS_FILE = "/etc/nimctl/llm-options.yaml"
API_KEYS = "api-keys"
CHAT_TEMPLATE = "/etc/nimctl/chat-template.jinja"


class Adapter(Value):
    """A LoRA adapter that was checked; `directory`, or llama.cpp's file, is on the host.

    `modules` are the layers that it changes, by their names in the checkpoint.
    """

    name: str
    directory: str
    rank: int
    modules: tuple[str, ...] = ()


class Serving(Value):
    """A server that is to run in a container.

    `model` is the name that clients ask for. Paths are on the host: `checkpoint` is the directory
    of the model store, `engine` that of a TensorRT-LLM engine or the GGUF file, `cache` NIM's
    cache, `options_file` TensorRT-LLM's YAML. `key_file` holds the registry key for a container
    that `downloads` its own model. `nim_profile` is the id that a NIM is pinned to. It answers on
    `address`:`port`; with `is_one_of_many` nowhere else, since others have the same further ports,
    and with `is_routed` only to the router.
    """

    name: str
    model: str
    profile: Profile
    image: str
    port: int
    address: str = "127.0.0.1"
    checkpoint: str | None = None
    engine: str | None = None
    cache: str | None = None
    options_file: str | None = None
    downloads: bool = False
    key_file: str | None = None
    api_key_file: str | None = None
    chat_template: str | None = None
    nim: Nim | None = None
    nim_profile: str | None = None
    devices: Devices | None = None
    user: str = "1000:1000"
    capacity: CapacityWish = CapacityWish()
    threads: int = 1
    adapters: tuple[Adapter, ...] = ()
    environment: dict[str, str] = {}
    arguments: tuple[str, ...] = ()
    network: str = "bridge"
    memory_limit_bytes: int | None = None
    restarts: bool = False
    is_routed: bool = False
    is_one_of_many: bool = False
