"""The imports that checkpoints need; whatever else a pickle imports may run anything.

Names are compared whole: `torch._utils` has more functions than these, and protocol 4 can reach
attributes of attributes.
"""

_BUILTINS = (
    "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple"
)
_TENSOR_TYPES = "Byte Char Short Int Long Half Float Double BFloat16"
_STORAGE_TYPES = (
    f"{_TENSOR_TYPES} Bool ComplexFloat ComplexDouble QInt8 QInt32 QUInt8 QUInt4x2 QUInt2x4"
)
_DTYPES = (
    "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 float32 float64 bfloat16 "
    "complex32 complex64 complex128 qint8 qint32 quint8 quint4x2 quint2x4 "
    "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 "
    "int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7 "
    "bits8 bits16 bits1x8 bits2x4 bits4x2"
)
_QUANTIZATION = (
    "per_tensor_affine per_tensor_symmetric per_channel_affine per_channel_symmetric "
    "per_channel_affine_float_qparams"
)
_NUMPY_MULTIARRAY = "_reconstruct scalar"


def _below(module: str, names: str, suffix: str = "") -> set[str]:
    return {f"{module}.{name}{suffix}" for name in names.split()}


# torch: what `torch.load(weights_only=True)` of 2.13.0 allows (`_get_allowed_globals` in
# https://github.com/pytorch/pytorch/blob/v2.13.0/torch/_weights_only_unpickler.py).
_TORCH = (
    _below("collections", "OrderedDict Counter")
    | _below("_codecs", "encode")
    | _below("torch", f"Size Tensor device BoolTensor {_DTYPES} {_QUANTIZATION}")
    | _below("torch", _TENSOR_TYPES, "Tensor")
    | _below("torch", _STORAGE_TYPES, "Storage")
    | _below("torch.cuda", f"{_TENSOR_TYPES} Bool", "Tensor")
    | _below("torch.cuda", f"{_TENSOR_TYPES} Bool ComplexFloat ComplexDouble", "Storage")
    | _below("torch.sparse", _TENSOR_TYPES, "Tensor")
    | _below("torch.cuda.sparse", _TENSOR_TYPES, "Tensor")
    | _below("torch.storage", "TypedStorage UntypedStorage")
    | _below("torch.nn.parameter", "Parameter")
    | _below("torch.serialization", "_get_layout")
    | _below("torch._tensor", "_rebuild_from_type_v2")
    | _below(
        "torch._utils",
        "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter "
        "_rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor "
        "_rebuild_nested_tensor _rebuild_meta_tensor_no_storage _rebuild_wrapper_subclass "
        "_rebuild_device_tensor_from_cpu_tensor _rebuild_device_tensor_from_numpy",
    )
)
# NumPy: what `ndarray.__reduce__`, `__reduce_ex__(5)` and those of scalars and dtypes return, since
# 2.0 and before (https://numpy.org/neps/nep-0052-python-api-cleanup.html renamed the module).
_NUMPY = (
    _below("numpy", "ndarray dtype")
    | _below("numpy.core.multiarray", _NUMPY_MULTIARRAY)
    | _below("numpy._core.multiarray", _NUMPY_MULTIARRAY)
    | _below("numpy.core.numeric", "_frombuffer")
    | _below("numpy._core.numeric", "_frombuffer")
)
# Python 2 names, which protocols up to 2 keep: https://docs.python.org/3/library/pickle.html,
# `fix_imports`. Types whose values hold values only.
_PYTHON = _below("builtins", _BUILTINS) | _below("__builtin__", f"{_BUILTINS} long unicode")

ALLOWED = frozenset(_TORCH | _NUMPY | _PYTHON)
