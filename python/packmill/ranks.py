"""Which data-parallel rank this process is, and of how many. It is the only key that rows are dealt by: tensor-,
pipeline- and context-parallel peers get the same rows."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from .errors import RecipeError

_log = logging.getLogger("packmill")
_said = False


def resolve(
    rank: int | None, world_size: int | None, mesh: tuple[Any, Sequence[str]] | None
) -> tuple[int, int]:
    """Rank and world size: as given, of a mesh's data dimensions, of ``torch.distributed``, of the environment
    (``RANK``, ``WORLD_SIZE``), or one of one."""
    if mesh is not None:
        if rank is not None or world_size is not None:
            raise RecipeError("give mesh= or rank= and world_size=, not both")
        return _of_mesh(mesh)
    if rank is not None or world_size is not None:
        if rank is None or world_size is None:
            raise RecipeError("rank= and world_size= belong together")
        return rank, world_size
    found = _of_torch() or _of_environment()
    if found is None:
        return 0, 1
    rank, world_size, where = found
    _say(rank, world_size, where)
    return rank, world_size


def found() -> int | None:
    """The world size of ``torch.distributed`` or of the environment, where there is one."""
    there = _of_torch() or _of_environment()
    return None if there is None else there[1]


def _of_mesh(mesh: tuple[Any, Sequence[str]]) -> tuple[int, int]:
    try:
        device_mesh, names = mesh
        names = (names,) if isinstance(names, str) else tuple(names)
    except (TypeError, ValueError):
        raise RecipeError(
            "mesh= takes a DeviceMesh and the names of its data dimensions: mesh=(mesh, ['dp_replicate', 'dp_shard'])"
        ) from None
    known = tuple(device_mesh.mesh_dim_names or ())
    missing = [name for name in names if name not in known]
    if missing or not names:
        raise RecipeError(f"the mesh has the dimensions {list(known)}, and not {missing or 'none at all'}")
    rank, world_size = 0, 1
    # Row-major in the mesh's own order, whatever order the names are given in.
    for name in (name for name in known if name in names):
        size = device_mesh.size(known.index(name))
        rank = rank * size + device_mesh.get_local_rank(name)
        world_size *= size
    return rank, world_size


def _of_torch() -> tuple[int, int, str] | None:
    try:
        import torch.distributed as dist
    except ImportError:
        return None
    if not (dist.is_available() and dist.is_initialized()):
        return None
    return dist.get_rank(), dist.get_world_size(), "torch.distributed"


def _of_environment() -> tuple[int, int, str] | None:
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), "RANK and WORLD_SIZE"
    except (KeyError, ValueError):
        return None


def _say(rank: int, world_size: int, where: str) -> None:
    global _said
    if world_size > 1 and not _said:
        _said = True
        _log.warning(
            "rank %d of %d, from %s: all ranks are taken as data-parallel. Give mesh=(device_mesh, names of its data "
            "dimensions) where some are tensor-, pipeline- or context-parallel",
            rank,
            world_size,
            where,
        )
