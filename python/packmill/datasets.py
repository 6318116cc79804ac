"""Data sets that are in memory, or in ``datasets``' own files, as shards."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import UsageError

#: Records that are written at a time.
WRITE_ROWS = 1000


def files_of(dataset: Any, cache: str | os.PathLike[str] | None) -> list[str]:
    """Arrow files with a data set's records, in their order.

    A ``datasets.Dataset`` that is nothing but its own files is read where they lie. Anything else is written once into the
    cache folder: a data set under its fingerprint, a ``pyarrow.Table`` under a hash of what it holds.

    Raises:
        UsageError: for an iterable data set, a dict of splits, one with a transform, an empty one, and for what is none.
    """
    import pyarrow as pa

    if isinstance(dataset, pa.RecordBatch):
        dataset = pa.Table.from_batches([dataset])
    if isinstance(dataset, pa.Table):
        _refuse_empty(dataset.num_rows)
        return [_written(dataset.to_batches(WRITE_ROWS), None, cache)]
    kind = type(dataset).__name__
    if kind == "DatasetDict":
        raise UsageError(f"a {kind} has several splits: give one of {sorted(dataset)}")
    if not hasattr(dataset, "cache_files") or not hasattr(dataset, "with_format"):
        raise UsageError(
            f"a data set is a datasets.Dataset or a pyarrow.Table, not {kind}: name the files of a data set that is streamed "
            "in a recipe's sources"
        )
    _refuse_empty(len(dataset))
    if dataset.format["type"] == "custom":
        raise UsageError(
            "the data set has a transform, which is made when Python reads it: use functions=, or map() in its place"
        )
    if list(dataset.format["columns"]) != list(dataset.column_names):
        dataset = dataset.select_columns(dataset.format["columns"])
    own = _own_files(dataset)
    if own is not None:
        return own
    arrow = dataset.with_format("arrow")
    tables = (arrow[start : start + WRITE_ROWS] for start in range(0, len(dataset), WRITE_ROWS))
    batches = (batch for table in tables for batch in table.to_batches())
    return [_written(batches, str(dataset._fingerprint), cache)]


def _refuse_empty(rows: int) -> None:
    if rows == 0:
        raise UsageError("the data set is empty")


def _own_files(dataset: Any) -> list[str] | None:
    """The data set's files, where it is just what they hold, in the order in which packmill reads files."""
    import pyarrow as pa
    from datasets.table import ConcatenationTable, MemoryMappedTable

    if getattr(dataset, "_indices", None) is not None:
        return None
    parts = [dataset.data]
    if isinstance(dataset.data, ConcatenationTable):
        # Blocks beside each other are columns that were added.
        if any(len(beside) != 1 for beside in dataset.data.blocks):
            return None
        parts = [block for beside in dataset.data.blocks for block in beside]
    # Records cut off, columns renamed or cast, are replayed over the file at every load; so is what says nothing of records.
    nothing = {"replace_schema_metadata"}
    for part in parts:
        if not isinstance(part, MemoryMappedTable) or {name for name, *_ in part.replays or ()} - nothing:
            return None
    files = [os.path.abspath(part.path) for part in parts]
    if files != sorted(set(files)):
        return None
    rows = 0
    for file in files:
        with pa.memory_map(file) as source:
            table = pa.ipc.open_stream(source).read_all()
            if not table.schema.equals(dataset.data.schema, check_metadata=False):
                return None
            rows += table.num_rows
    return files if rows == len(dataset) else None


def _written(batches: Iterable[Any], key: str | None, cache: str | os.PathLike[str] | None) -> str:
    """An Arrow file of the batches in the cache folder, which stays as it is once it is there."""
    import pyarrow as pa

    folder = (Path(cache) if cache is not None else _cache_folder()) / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    if key is not None and (ready := folder / f"{key}.arrow").exists():
        return str(ready)
    part = folder / f"{os.getpid()}-{secrets.token_hex(8)}.part"
    try:
        writer = None
        with pa.OSFile(str(part), "wb") as sink:
            for batch in batches:
                if writer is None:
                    writer = pa.ipc.new_stream(sink, batch.schema)
                writer.write_batch(batch)
            if writer is not None:
                writer.close()
        path = folder / f"{_digest(part) if key is None else key}.arrow"
        try:
            # Not in place of what another rank wrote and may be reading.
            os.link(part, path)
        except FileExistsError:
            pass
        except OSError:
            # A file system without links.
            os.replace(part, path)
        return str(path)
    finally:
        part.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _cache_folder() -> Path:
    from . import _packmill

    return Path(_packmill.cache_folder())
