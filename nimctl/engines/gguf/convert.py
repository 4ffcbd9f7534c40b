"""Writing a GGUF file.

The gguf package writes header, metadata and tensor list; the weights are streamed behind them, so
memory does not grow with the model.
"""

import errno
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

import gguf
import numpy as np

from nimctl.core.errors import DiskFullError
from nimctl.core.value import Value
from nimctl.engines.gguf.conversion import Conversion, TensorCopy, read_conversion
from nimctl.engines.gguf.metadata import Metadata, MetadataValue
from nimctl.engines.gguf.weights import Encoding, Precision, encode, encoded_bytes, encoding

ROPE_TENSOR = "rope_freqs.weight"

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
_FILE_TYPES = {
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}


class _Tensor(Value):
    """One tensor of the GGUF file; `source` is None for the rotary divisors."""

    name: str
    shape: tuple[int, ...]
    encoding: Encoding
    source: TensorCopy | None = None

    @property
    def size(self) -> int:
        return encoded_bytes(self.shape, self.encoding)


def convert(
    checkpoint: Path,
    output: Path,
    *,
    precision: Precision,
    progress: Callable[[int, int], None],
) -> None:
    """Convert a checkpoint directory to one GGUF file; the same input gives the same bytes.

    `progress` is told the bytes of weights that are written and those of all weights. When
    anything fails, or the user interrupts, `output` is removed.

    Raises:
        UnsupportedModelError: The model, its tokenizer or its number format cannot be converted,
            or a value is beyond the range of `precision`.
        VerificationError: A file is missing, malformed or contradicts another one.
        DiskFullError: There is not enough room for `output`.
    """
    conversion = read_conversion(checkpoint)
    tensors = list(_tensors(conversion, precision))
    with ExitStack() as undo:
        undo.callback(output.unlink, missing_ok=True)
        try:
            _write_head(output, conversion, tensors, precision)
            with output.open("ab") as file:
                _write_weights(file, conversion, tensors, progress)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise DiskFullError(
                f"{output} cannot be written whole", cause=error.strerror, hint="nimctl prune"
            ) from error
        undo.pop_all()


def _tensors(conversion: Conversion, precision: Precision) -> Iterator[_Tensor]:
    divisors = conversion.architecture.rope_divisors
    if divisors:
        yield _Tensor(name=ROPE_TENSOR, shape=(len(divisors),), encoding="f32")
    for copy in conversion.tensors:
        shape = copy.rule.shape
        yield _Tensor(
            name=copy.rule.target, shape=shape, encoding=encoding(shape, precision), source=copy
        )


def _write_head(
    output: Path, conversion: Conversion, tensors: list[_Tensor], precision: Precision
) -> None:
    metadata: Metadata = {
        **conversion.metadata,
        "general.file_type": int(_FILE_TYPES[precision]),
        "general.quantization_version": gguf.GGML_QUANT_VERSION,
    }
    with closing(gguf.GGUFWriter(output, conversion.architecture.name)) as writer:
        for key, value in metadata.items():
            _add(writer, key, value)
        for tensor in tensors:
            writer.add_tensor_info(
                tensor.name,
                tensor.shape,
                np.dtype(np.float32),
                tensor.size,
                raw_dtype=_TYPES[tensor.encoding],
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()


def _add(writer: gguf.GGUFWriter, key: str, value: MetadataValue) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)


def _write_weights(
    file: BinaryIO,
    conversion: Conversion,
    tensors: list[_Tensor],
    progress: Callable[[int, int], None],
) -> None:
    done, total = 0, sum(tensor.size for tensor in tensors)
    progress(done, total)
    for tensor in tensors:
        file.write(bytes(-file.tell() % gguf.GGUF_DEFAULT_ALIGNMENT))
        for chunk in _chunks(conversion, tensor):
            file.write(chunk)
            done += len(chunk)
            progress(done, total)
    file.write(bytes(-file.tell() % gguf.GGUF_DEFAULT_ALIGNMENT))


def _chunks(conversion: Conversion, tensor: _Tensor) -> Iterator[bytes]:
    if tensor.source is not None:
        return encode(tensor.source, tensor.encoding)
    divisors = conversion.architecture.rope_divisors
    return iter([struct.pack(f"<{len(divisors)}f", *divisors)])
