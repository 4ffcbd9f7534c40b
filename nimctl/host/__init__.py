"""What this machine is: `observe.observe` gives a Host.

GPUs are read by `probe`: NVML in a process of its own (`nvml`), or else the program nvidia-smi
(`nvidia_smi`), each with a deadline, because a driver that hangs must not hang nimctl.
"""
