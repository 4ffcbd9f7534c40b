"""Where things lie under `NIMCTL_HOME`: paths only, nothing is touched."""

from pathlib import Path

from nimctl.core.refs import ModelRef
from nimctl.core.value import Value

ENGINE_DIRECTORY = "llama_cpp_engine"
TRTLLM_ENGINE_DIRECTORY = "trtllm_engine"
ENGINE_FILE = "model.gguf"


def engine_directory(backend: str) -> str:
    """Where a model's directory has its engine."""
    return TRTLLM_ENGINE_DIRECTORY if backend == "tensorrt_llm" else ENGINE_DIRECTORY


class Layout(Value):
    """The directory tree of one nimctl home."""

    home: str

    @property
    def root(self) -> Path:
        """`NIMCTL_HOME` itself."""
        return Path(self.home)

    def blob(self, sha256: str) -> Path:
        """The one copy of a verified file."""
        # Not joined part by part, which takes longer than looking the file up.
        return Path(f"{self.home}/blobs/sha256/{sha256[:2]}/{sha256}")

    def checksums(self, sha256: str) -> Path:
        """The CRC-32 of each range of a blob that came in ranges."""
        return self.root / "blobs" / "crc32" / sha256[:2] / f"{sha256}.json"

    def partial(self, transfer: str) -> Path:
        """A file of an unfinished transfer: ID.part, ID.state, or what it is for: FETCH.wanted."""
        return Path(f"{self.home}/blobs/partial/{transfer}")

    def artifact(self, ref: ModelRef) -> Path:
        """What a reference was resolved to."""
        return self.root / "artifacts" / f"{ref.digest}.json"

    def engine(self, key: str) -> Path:
        """An engine's directory."""
        return self.root / "engines" / key

    def build_log(self, key: str) -> Path:
        """What the build of an engine printed, whether it succeeded or not."""
        return self.root / "builds" / f"{key}.log"

    def kernels(self, key: str, indices: tuple[int, ...]) -> Path:
        """Kernels that a server on these GPUs compiled and tuned, for the next one like it."""
        return self.root / "caches" / key / f"gpu{'-'.join(map(str, indices))}"

    def model(self, model: str, profile: str) -> Path:
        """The directory that a server of this model and profile reads."""
        return self.root / "model-store" / model / profile

    def server(self, name: str) -> Path:
        """State and log of an embedded server."""
        return self.root / "servers" / name

    def router(self, name: str) -> Path:
        """The configuration of a router, and the socket that takes commands for it."""
        return self.root / "routers" / name

    def lock(self, name: str) -> Path:
        """A lock file."""
        return self.root / "locks" / name
