"""TensorRT-LLM engines: what to build, with which commands, and what went wrong."""
