"""Batches in the arrays of a framework, without a copy, by DLPack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ._packmill import Tensor
from .errors import RecipeError

Framework = Literal["torch", "numpy", "jax"]

#: A batch: tensors and integers by name, as the table in the package's README has them.
Batch = dict[str, Any]


def converter(framework: Framework) -> Callable[[Any], Any]:
    """What makes an array of a packmill tensor."""
    if framework == "torch":
        try:
            import torch.utils.dlpack
        except ImportError:
            raise RecipeError("torch is not installed: install it, or give tensors='numpy'") from None
        return torch.utils.dlpack.from_dlpack
    if framework == "numpy":
        import numpy

        return numpy.from_dlpack
    if framework == "jax":
        try:
            import jax.dlpack
        except ImportError:
            raise RecipeError("jax is not installed: install it, or give tensors='numpy'") from None
        return jax.dlpack.from_dlpack
    raise RecipeError(f"tensors is 'torch', 'numpy' or 'jax', not {framework!r}")


def convert(raw: dict[str, Any], to: Callable[[Any], Any]) -> Batch:
    """The same batch with arrays in place of packmill's tensors."""
    return {name: to(value) if isinstance(value, Tensor) else value for name, value in raw.items()}
