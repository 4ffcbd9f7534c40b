"""Containers through the Docker API: the only package that knows the Docker SDK."""

from nimctl.serving.docker.engine import DockerEngine

__all__ = ["DockerEngine"]
