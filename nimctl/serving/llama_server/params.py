"""From options to xllamacpp's parameters.

Whatever xllamacpp would choose with an eye on a desktop is set here; what is not mentioned keeps
its default.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xllamacpp

from nimctl.serving.llama_server.options import Options


class StartError(Exception):
    """The server cannot start; the message says why."""


def to_params(options: Options) -> xllamacpp.CommonParams:
    """The parameters of `xllamacpp.Server`.

    Raises:
        StartError: A file cannot be read, a value is unknown, or xllamacpp lacks a setting.
    """
    params = xllamacpp.CommonParams()
    try:
        _set_model(params, options)
        _set_capacity(params, options)
        _set_http(params, options)
        _set_sampling(params.sampling)
    except AttributeError as error:
        # The names follow llama.cpp's and change from month to month.
        raise StartError(f"nimctl does not fit this version of xllamacpp: {error}") from error
    params.verbosity = options.verbosity
    return params


def _set_model(params: xllamacpp.CommonParams, options: Options) -> None:
    params.model.path = options.model
    if options.alias:
        params.model_alias = {options.alias}
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in options.lora]
    if options.chat_template_file:
        params.chat_template = _read(options.chat_template_file)
    params.embedding = options.embeddings
    if options.pooling:
        params.pooling_type = _member(
            xllamacpp.llama_pooling_type, "LLAMA_POOLING_TYPE_", options.pooling
        )


def _set_capacity(params: xllamacpp.CommonParams, options: Options) -> None:
    params.n_ctx = options.ctx_size
    params.n_parallel = options.parallel
    params.n_batch = options.batch_size
    # An input to embed must fit into one pass: https://github.com/ggml-org/llama.cpp/issues/12836
    params.n_ubatch = options.batch_size if options.embeddings else options.ubatch_size
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.n_gpu_layers = options.n_gpu_layers
    attention = {"on": "enabled", "off": "disabled", "auto": "auto"}[options.flash_attn]
    params.flash_attn_type = _member(
        xllamacpp.llama_flash_attn_type, "LLAMA_FLASH_ATTN_TYPE_", attention
    )
    params.cache_type_k = _member(xllamacpp.ggml_type, "GGML_TYPE_", options.cache_type_k)
    params.cache_type_v = _member(xllamacpp.ggml_type, "GGML_TYPE_", options.cache_type_v)
    # Its default of 8 GiB is more than many a model takes.
    params.cache_ram_mib = options.cache_ram
    params.cache_idle_slots = options.cache_ram != 0
    # It opens the model twice, to shrink what the options fix.
    params.fit_params = False


def _set_http(params: xllamacpp.CommonParams, options: Options) -> None:
    if hasattr(params, "hostnames"):
        params.hostnames = options.host.split(",")
    else:  # before 2026.10; the GPU builds are published apart and may be older
        params.hostname = options.host
    params.port = options.port
    params.n_threads_http = options.threads_http
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.ui = False
    params.cors_origins = options.cors_origins
    if not options.cors_origins:
        params.cors_credentials = False
        params.cors_methods = ""
        params.cors_headers = ""
    if options.api_key_file:
        params.api_keys = list(_keys(_read(options.api_key_file)))
        if not params.api_keys:
            raise StartError(f"there is no key in {options.api_key_file}")


def _set_sampling(sampling: xllamacpp.CommonParamsSampling) -> None:
    """Sample from the model's own distribution unless a request says otherwise, as OpenAI does.

    What a GGUF file recommends for itself (`general.sampling.*`) still goes before these.
    """
    sampling.temp = 1.0
    sampling.top_k = 0
    sampling.top_p = 1.0
    sampling.min_p = 0.0


def _member(enum: Any, prefix: str, name: str) -> Any:
    try:
        return enum[prefix + name.upper()]
    except KeyError:
        raise StartError(f"llama.cpp has no {prefix}{name.upper()}") from None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from error


def _keys(text: str) -> Iterator[str]:
    for line in text.splitlines():
        key = line.strip()
        if key and not key.startswith("#"):
            yield key
