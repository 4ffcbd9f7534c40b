"""Mirrors of NGC and Hugging Face, for sites that reach neither; forms: `nimctl.core.mirrors`."""

from nimctl.registries.mirrors.bucket import BucketMirror
from nimctl.registries.mirrors.tree import TreeMirror

__all__ = ["BucketMirror", "TreeMirror"]
