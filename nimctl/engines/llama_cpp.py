"""Engines of the backend llama_cpp: GGUF files converted from safetensors."""

from pathlib import Path
from typing import Literal, cast

from nimctl.core.engine import EngineRecipe
from nimctl.core.errors import NotFoundError
from nimctl.core.events import Emit, Finished, Progressed, Started
from nimctl.core.layout import ENGINE_FILE


class LlamaCppBuilder:
    """Converts a Hugging Face checkpoint on the CPU."""

    # Part of the engine key: raise it when the converter writes other bytes for the same input.
    version = "nimctl-gguf-1"

    def build(self, checkpoint: Path, recipe: EngineRecipe, staging: Path, emit: Emit) -> None:
        """Write `model.gguf` into `staging`.

        Raises:
            UnsupportedModelError: The checkpoint's architecture or tokenizer is not known.
            VerificationError: A file of the checkpoint is malformed.
            NotFoundError: The extra `cpu` is not installed.
        """
        try:
            from nimctl.engines.gguf.convert import convert  # noqa: PLC0415 - numpy comes with it
        except ModuleNotFoundError as error:
            raise NotFoundError(
                f"the converter needs {error.name}, which is not installed",
                cause="nimctl was installed without the extra `cpu`",
                hint="pip install 'nimctl[cpu]'",
            ) from error

        task = "build"
        started = False

        def progress(done: int, total: int) -> None:
            nonlocal started
            if not started:
                emit(Started(task=task, title=f"building {recipe.precision} engine", total=total))
                started = True
            emit(Progressed(task=task, done=done))

        precision = cast("Literal['f16', 'q8_0']", recipe.precision)
        convert(checkpoint, staging / ENGINE_FILE, precision=precision, progress=progress)
        emit(Finished(task=task))
