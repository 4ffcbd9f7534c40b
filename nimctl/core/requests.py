"""What a user asked for, as values; `cli/` makes them and nothing changes them."""

import msgspec

from nimctl.core.lock import Lock
from nimctl.core.memory import CapacityWish
from nimctl.core.profile import Wish
from nimctl.core.refs import ModelRef
from nimctl.core.value import Value


class PullRequest(Value):
    """Bring a model into the store; with `lock`, what that says and nothing else."""

    ref: ModelRef
    wish: Wish = Wish()
    lock: Lock | None = None


class BuildRequest(Value):
    """Have a model's engine in the store."""

    ref: ModelRef
    wish: Wish = Wish()


class ServeRequest(Value):
    """Run a model.

    `port` 0 takes a free one. None leaves a choice to nimctl; `timeout_s` in seconds.
    """

    ref: ModelRef
    wish: Wish = Wish()
    name: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    detach: bool = False
    timeout_s: float | None = None
    require_gpu: bool = False
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    threads: int | None = None
    api_key_file: str | None = None
    auth: bool = True
    chat_template: str | None = None
    embeddings: bool = False
    lora: tuple[str, ...] = ()
    engine_arguments: tuple[str, ...] = ()

    @property
    def choice(self) -> Wish:
        """What narrows the choice of a profile; adapters want one that serves them."""
        return msgspec.structs.replace(self.wish, lora=self.wish.lora or bool(self.lora))

    @property
    def capacity(self) -> CapacityWish:
        """The capacity that was asked for."""
        return CapacityWish(max_model_len=self.max_model_len, max_num_seqs=self.max_num_seqs)
