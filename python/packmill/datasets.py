"""Data sets that are in memory, or in ``datasets``' own files, as shards."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from .errors import UsageError

#: Records that are written at a time.
WRITE_ROWS = 1000


def files_of(dataset: Any, cache: str | os.PathLike[str] | None) -> list[str]:
    """Arrow files with a data set's records, in their order.

    A ``datasets.Dataset`` whose records are those of its own files, one for one, is read where it lies. Anything else is
    written once into the cache folder: a data set under its fingerprint, a ``pyarrow.Table`` under a hash of what it holds.

    Raises:
        UsageError: for an iterable data set, a dict of splits, and for what is none.
    """
    import pyarrow as pa

    if isinstance(dataset, pa.RecordBatch):
        dataset = pa.Table.from_batches([dataset])
    if isinstance(dataset, pa.Table):
        return [_written(dataset.to_batches(), dataset.schema, None, cache)]
    kind = type(dataset).__name__
    if kind == "DatasetDict":
        raise UsageError(f"a {kind} has several splits: give one of {sorted(dataset)}")
    if not hasattr(dataset, "cache_files") or not hasattr(dataset, "with_format"):
        raise UsageError(
            f"a data set is a datasets.Dataset or a pyarrow.Table, not {kind}: name the files of a data set that is streamed "
            "in a recipe's sources"
        )
    own = _own_files(dataset)
    if own is not None:
        return own
    arrow = dataset.with_format("arrow")
    tables = (arrow[start : start + WRITE_ROWS] for start in range(0, len(dataset), WRITE_ROWS))
    batches = (batch for table in tables for batch in table.to_batches())
    return [_written(batches, None, str(dataset._fingerprint), cache)]


def _own_files(dataset: Any) -> list[str] | None:
    """The data set's files, where they hold its records and nothing else."""
    import pyarrow as pa

    files = [file["filename"] for file in dataset.cache_files]
    if not files or getattr(dataset, "_indices", None) is not None:
        return None
    rows = 0
    for file in files:
        with pa.memory_map(file) as source:
            try:
                table = pa.ipc.open_stream(source).read_all()
            except pa.ArrowInvalid:
                return None
            # Columns may have been left out, renamed or cast, and records cut off, without a word in the files.
            if not table.schema.equals(dataset.data.schema, check_metadata=False):
                return None
            rows += table.num_rows
    return files if rows == len(dataset) else None


def _written(batches: Any, schema: Any, key: str | None, cache: str | os.PathLike[str] | None) -> str:
    """An Arrow file of the batches in the cache folder, which stays as it is once it is there."""
    import pyarrow as pa

    folder = (Path(cache) if cache is not None else _cache_folder()) / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    if key is not None and (ready := folder / f"{key}.arrow").exists():
        return str(ready)
    handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
    os.close(handle)
    try:
        writer = None
        with pa.OSFile(part, "wb") as sink:
            for batch in batches:
                if writer is None:
                    writer = pa.ipc.new_stream(sink, batch.schema)
                writer.write_batch(batch)
            if writer is None:
                writer = pa.ipc.new_stream(sink, schema if schema is not None else pa.schema([]))
            writer.close()
        if key is None:
            digest = hashlib.blake2b(digest_size=16)
            with open(part, "rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
            key = digest.hexdigest()
        path = folder / f"{key}.arrow"
        try:
            # Not in place of what another rank wrote and may be reading.
            os.link(part, path)
        except FileExistsError:
            pass
        return str(path)
    finally:
        os.unlink(part)


def _cache_folder() -> Path:
    from . import _packmill

    return Path(_packmill.cache_folder())
