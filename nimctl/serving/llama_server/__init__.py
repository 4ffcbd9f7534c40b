"""The embedded server: llama.cpp's own HTTP server, from the xllamacpp wheel, in a process.

Started with `python -m nimctl.serving.llama_server`. It imports the standard library and xllamacpp
only, because every import delays the first answer.
"""
