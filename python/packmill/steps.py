"""What a trainer's steps must be, so that states are saved by them."""

from __future__ import annotations

from .errors import UsageError
from .loader import Loader


def refuse_other_steps(loader: Loader, name: str, given: int) -> None:
    """Refuses a trainer that accumulates over other micro-batches than the recipe's step has; ``name`` is its setting.

    Raises:
        UsageError: with the recipe's key and the setting that fit.
    """
    micro = loader.micro_batches
    if micro != given:
        rows = loader.recipe["batch"]["rows"] * loader.world_size
        raise UsageError(
            f"{name}={given}, and the recipe's step has {micro} micro-batches a rank: states are saved by step. Set batch: "
            f"{{step_rows: {rows * given}}} in the recipe, or {name}={micro}"
        )


def refuse_other_ranks(loader: Loader, rank: int, world_size: int) -> None:
    """Refuses a trainer that is another rank than the loader.

    Raises:
        UsageError: with both.
    """
    if (rank, world_size) != (loader.rank, loader.world_size):
        raise UsageError(
            f"the trainer is rank {rank} of {world_size}, and the loader {loader.rank} of {loader.world_size}: give the loader "
            "the same"
        )
