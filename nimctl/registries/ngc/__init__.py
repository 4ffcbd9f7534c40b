"""NVIDIA's NGC model registry, or a mirror of it.

Endpoints and shapes follow https://docs.ngc.nvidia.com/cli/ and what ngcsdk 4.37.0 asks and
accepts (`tests/adapters/test_ngc_standin.py`); nothing was tried against api.ngc.nvidia.com.
"""
