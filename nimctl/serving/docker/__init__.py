"""Containers through the Docker API: the only package that knows the Docker SDK."""
