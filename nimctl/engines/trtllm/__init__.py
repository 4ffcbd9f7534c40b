"""Engines of TensorRT-LLM, built in its container or by an installation on this machine.

One way: `builder` runs a job's commands with one of the `runners` and checks what came out;
`attended` keeps interrupts from cutting them in two; `buildlog` keeps what they print; `installed`
finds an installation, and `tied` has its commands end with nimctl.
"""
