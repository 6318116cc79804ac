"""The loader: what a trainer iterates."""

from __future__ import annotations

import atexit
import json
import os
import sys
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from . import _packmill, functions as _functions, ranks
from .datasets import files_of
from .errors import CheckpointError, PackmillWarning, RecipeError, UsageError
from .functions import Functions, given
from .recipes import plain, resolved
from .tensors import Batch, Framework, convert, converter

#: What a state calls itself.
FORMAT = "packmill-state-1"

#: Steps between two looks for new warnings.
WARN_EVERY = 50

#: Loaders whose threads run.
_live: weakref.WeakSet[Loader] = weakref.WeakSet()

#: One rank's state, or all ranks' as ``{"format": …, "ranks": [one rank's, …]}``: plain, small, of JSON's types.
State = dict[str, Any]


class Loader:
    """Packed, label-masked batches of a recipe, in the one order that corpus, recipe and seed give.

    Nothing starts here: files are opened and threads started by the first batch, ``len()`` or :meth:`open`.

    Iterating gives plain dicts. Tensors are ``[rows, sequence_length]`` where nothing else is said:

    ==================== ==================== =====================================================================
    ``input_ids``        i64 (torch), i32     the pad id on padding
    ``labels``           as ``input_ids``     -100 on all that is not trained and on every segment's first token; with
                                              ``batch.labels: shifted`` the key is ``shift_labels``
    ``loss_weights``     f32                  only with ``mask.weights: use``; 0 exactly where the label is -100
    ``position_ids``     i32                  from 0 in each segment
    ``segment_ids``      i32                  1, 2, … in each row; 0 on padding
    ``cu_seqlens``       i32 ``[runs + 1]``   offsets of the segments over the flattened batch, padding among them
    ``segment_lengths``  i32 ``[runs]``       real tokens of each
    ``provenance``       i64 ``[segments, 9]``  where each comes from: columns as in ``packmill.PROVENANCE_FIELDS``
    ``max_seqlen``, ``num_tokens``, ``num_label_tokens``, ``filling``   integers
    ``row_numbers``      list                 numbers of the rows in the stream
    ==================== ==================== =====================================================================

    Tensors share the batch's memory, without a copy. They may be kept for any time, and outlive the loader.

    A loader is one stream. ``iter()`` never restarts it: in the middle it goes on where it stands. With ``plan: global``
    and ``epochs: N`` one ``for`` loop is one epoch, N in all; with ``plan: lanes`` rows of two epochs may share a row, so
    one loop is all of them; with ``epochs: null`` it never ends.

    Args:
        recipe: a recipe file, a mapping with a recipe's keys, or :class:`packmill.Recipe`.
        rank, world_size: the data-parallel rank, and how many there are.
        mesh: instead, a ``DeviceMesh`` and the names of its data dimensions.
        tensors: ``"torch"``, ``"numpy"`` or ``"jax"``.
        steps: ends delivery after this many steps, counted from the stream's start. Changes no row.
        side: ``"train"``, or ``"eval"`` for what the recipe's ``split`` holds out.
        functions: Python functions over records, before packmill reads them: :class:`packmill.Formatter`,
            :class:`packmill.Filter`, or several one after the other; a mapping has them by source. They are slow.
        cache: folder for spools and counted lengths, in place of the user's.
        overrides: keys of the recipe that take the place of its own, objects key by key: ``pack={"sequence_length": 8192}``.

    Raises:
        RecipeError: all faults of the recipe at once; with the first batch, sizes that cannot be dealt to the ranks.
    """

    def __init__(
        self,
        recipe: Any,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        mesh: tuple[Any, Sequence[str]] | None = None,
        tensors: Framework = "torch",
        steps: int | None = None,
        side: str = "train",
        functions: Functions = None,
        cache: str | os.PathLike[str] | None = None,
        **overrides: Any,
    ) -> None:
        if side not in ("train", "eval"):
            raise RecipeError(f"side is 'train' or 'eval', not {side!r}")
        self._recipe, self._folder = resolved(recipe, overrides)
        self.rank, self.world_size = ranks.resolve(rank, world_size, mesh)
        self._tensors: Framework = tensors
        self._steps = steps
        self._side = side
        self._functions = given(functions)
        self._cache = None if cache is None else os.fspath(cache)
        self._begin: list[State] = []
        self._stream: _packmill.Stream | None = None
        self._to = converter(tensors)
        self._process = os.getpid()
        self._ended = self._closed = False
        self._said: set[tuple[str, str | None]] = set()
        # Where the last step ended: its number, and the rows of all ranks by then.
        self._step, self._rows = 0, 0
        # Whether the epoch that was delivered last is over, which only the next loop may go past.
        self._between = False

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        recipe: Any = None,
        *,
        source: Mapping[str, Any] | None = None,
        cache: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Loader:
        """A loader of a data set that Python has already: a ``datasets.Dataset`` or a ``pyarrow.Table``.

        Records are read from Arrow files, not from Python: from the data set's own where they hold just its records, else
        from one that is written into the cache folder first. A state goes on with a data set of the same records.

        Args:
            dataset: the records.
            recipe: a mapping or :class:`packmill.Recipe`, whose sources this takes the place of; without one, all keys come
                as keywords.
            source: keys of ``sources[]`` but ``paths``; the name is ``dataset`` where none is given.
            options: whatever :class:`packmill.Loader` takes.
        """
        keys = {} if recipe is None else plain(recipe)
        if not isinstance(keys, Mapping):
            raise RecipeError("from_dataset takes a recipe as a mapping or packmill.Recipe: its sources are the data set")
        own = {"name": "dataset", **(source or {}), "paths": files_of(dataset, cache)}
        return cls({**keys, "sources": [own]}, cache=cache, **options)

    # What it is

    @property
    def recipe(self) -> dict[str, Any]:
        """The recipe with every default, as plain values."""
        return json.loads(self._recipe)  # type: ignore[no-any-return]

    @property
    def micro_batches(self) -> int:
        """Batches of this rank in a step: what a trainer accumulates gradients over."""
        batch = self.recipe["batch"]
        rows = int(batch["rows"])
        step_rows = batch["step_rows"]
        return 1 if step_rows is None else int(step_rows) // (rows * self.world_size)

    @property
    def step(self) -> int:
        """Steps completed, counted from the stream's start."""
        return self._step

    def __repr__(self) -> str:
        return f"packmill.Loader(rank={self.rank}, world_size={self.world_size}, step={self._step})"

    # What a trainer does with it

    def open(self) -> Loader:
        """Opens the corpus and starts the threads, if that has not been done.

        Raises:
            UsageError: in a process that was forked after it was opened, or in one of several workers of a DataLoader.
        """
        self._live()
        return self

    def __iter__(self) -> Iterator[Batch]:
        self._usable()
        return self._epoch()

    def __len__(self) -> int:
        """Batches of the epoch that is being delivered, or comes next. Known with ``plan: global`` alone.

        Raises:
            TypeError: with ``plan: lanes``, whose streams have no length that is known beforehand.
        """
        ends = self._ends()
        if ends is None:
            raise TypeError(
                "a loader has a length with plan: global alone; give the trainer a number of steps (max_steps)"
            )
        index = self._epoch_index(ends)
        steps = ends[index][1] if index < len(ends) else ends[-1][1]
        return steps * self.micro_batches

    def __bool__(self) -> bool:
        # Without it, `if loader` would ask for the length.
        return True

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads and waits for them. Tensors that were handed out stay."""
        stream, self._stream = self._stream, None
        self._ended = self._closed = True
        if stream is not None:
            stream.close()

    def eval(self) -> Loader:
        """A loader of the recipe's eval side: what ``split`` holds out, in corpus order, once, dealt to the same ranks.

        Its last step may have rows that only fill it, fully masked (``filling`` says how many): a mean over tokens
        (``packmill.torch.token_mean``) is not moved by them, a mean of batches' means is.
        """
        other = Loader.__new__(Loader)
        other.__dict__.update(self.__dict__)
        other._side, other._begin, other._stream = "eval", [], None
        other._step, other._rows, other._between = 0, 0, False
        other._ended = other._closed = False
        other._steps, other._said = None, set()
        return other

    # Where it stands

    def state_dict(self, step: int | None = None) -> State:
        """Where this rank stands after a step: small, plain, and all that is needed to go on.

        Args:
            step: the trainer's step (its optimizer's), counted from the stream's start; states of the last 64 are kept, and
                the one that was loaded. Without it, the last one that was delivered whole: too new where anything
                between this loader and the trainer fetches ahead.

        Raises:
            CheckpointError: for a step that is not among them.
            UsageError: after :meth:`close`.
        """
        if self._side == "eval":
            raise CheckpointError("the eval side has no states: it is short, and read whole every time")
        begun = int(self._begin[0]["step"]) if self._begin else 0
        if step is None and self._step == begun:
            step = begun
        if step == begun and not self._closed:
            return self._begun()
        text = self._live().state(step)
        return self._state(self._step if step is None else step, text)

    def load_state_dict(self, state: State | Sequence[State]) -> None:
        """Goes on from a state, before the first batch or in place of what is being delivered.

        Args:
            state: all ranks' of one step (a list, or what :func:`packmill.gather_state` gave), for any world size; or
                this rank's own, for as many ranks as there were.

        Raises:
            CheckpointError: for another rank's state alone, for what is no state; with the first batch, for ranks that are
                missing and for another stream.
        """
        parts = _parts(state)
        if len(parts) == 1 and parts[0]["world_size"] > 1:
            of = (parts[0]["rank"], parts[0]["world_size"])
            if of != (self.rank, self.world_size):
                raise CheckpointError(
                    f"a state of rank {of[0]} of {of[1]} cannot be loaded on rank {self.rank} of {self.world_size}: give "
                    "each rank its own state, or every rank all of them (packmill.gather_state)"
                )
            if self.recipe["plan"] == "global" and parts[0]["state"] is not None:
                raise CheckpointError(
                    "with plan: global rank 0's state alone says where the plan stands: give every rank all of them "
                    "(packmill.gather_state)"
                )
        texts = [part["state"] for part in parts]
        if any(text is None for text in texts):
            if any(texts):
                raise CheckpointError("some of the ranks' states are of the stream's beginning, and others are not")
            parts, step, rows = [], 0, 0
        else:
            step, _, _, rows = _packmill.describe_state(texts[0])
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._begin, self._step, self._rows = parts, step, rows
        self._ended = self._closed = self._between = False

    # Its accounts

    def progress(self) -> dict[str, Any]:
        """The account after the last batch: rows, steps, tokens, digest, and the ledger of every record and token."""
        return json.loads(self._live().progress())  # type: ignore[no-any-return]

    def stats(self) -> dict[str, dict[str, float]]:
        """What each stage did and waited for so far, by stage: items, bytes, ``busy_s``, ``blocked_in_s``, ``blocked_out_s``."""
        return self._live().stats()

    def sources(self) -> list[tuple[str, list[str]]]:
        """Names of the sources and of their shards, in the order that provenance counts them."""
        return self._live().sources()

    def fingerprint(self) -> str:
        """Which stream it is: recipe, files, tokenizer, templates and versions, as JSON."""
        return self._live().fingerprint()

    def check_peers(self, group: Any) -> None:
        """Compares this loader with its peers, which must get the same rows (tensor-, pipeline-, context-parallel ranks).

        Args:
            group: the ``torch.distributed`` group of the peers. All must call this after the same batch.

        Raises:
            UsageError: where one of them has another stream, stands elsewhere, or was given other rows.
        """
        import torch.distributed as dist

        account = self.progress()
        own = (self.fingerprint(), self.rank, self.world_size, account["rows"], account["digest"])
        peers: list[Any] = [None] * dist.get_world_size(group)
        dist.all_gather_object(peers, own, group=group)
        names = ("stream", "data-parallel rank", "world size", "number of rows", "digest of its rows")
        for number, peer in enumerate(peers):
            for name, mine, other in zip(names, own, peer):
                if mine != other:
                    raise UsageError(
                        f"peer {number} of the group has another {name}: peers must get the same rows. Is mesh= given the "
                        "data dimensions alone, and the same recipe everywhere?"
                    )

    # How

    def _live(self) -> _packmill.Stream:
        self._usable()
        if self._closed:
            raise UsageError("the loader was closed: make another, or load a state")
        if self._stream is None:
            self._process = os.getpid()
            self._stream = _packmill.Stream.open(
                self._recipe,
                self._folder,
                rank=self.rank,
                world_size=self.world_size,
                wide=self._tensors == "torch",
                eval_side=self._side == "eval",
                steps=self._steps,
                cache=self._cache,
                states=[part["state"] for part in self._begin],
                functions=self._functions,
            )
            _live.add(self)
            self._warn()
        return self._stream

    def _usable(self) -> None:
        if self._stream is not None and self._process != os.getpid():
            raise UsageError(
                "the loader was opened before this process was forked, and its threads are in the other one: make a loader "
                "in each process, or start processes by spawn"
            )
        if self._stream is None:
            _not_in_workers()

    def _warn(self) -> None:
        """Says what gives cause for a warning by now, each once."""
        if self._stream is not None:
            for name, source, seen, why, remedy in self._stream.warnings():
                if (name, source) not in self._said:
                    self._said.add((name, source))
                    of = f" (source {source})" if source else ""
                    warnings.warn(f"{name}{of}: {seen}; {why}; {remedy}", PackmillWarning, stacklevel=4)

    def _epoch(self) -> Iterator[Batch]:
        """What is left of an epoch, or of the stream."""
        self._between = False
        if self._ended:
            return
        stream, ends = self._live(), self._ends()
        # A stream without end has no epochs that a loop could stop at.
        endless = self.recipe["epochs"] is None
        borders = {rows for rows, _ in ends} if ends and not endless else set()
        while not self._between:
            # Whoever loads a state or closes the loader in the middle of a loop ends the loop.
            if self._stream is not stream:
                return
            self._usable()
            found = stream.next_batch()
            if found is None:
                self._ended = True
                self._warn()
                return
            raw, ended = found
            if ended is not None:
                self._step, self._rows = ended
                self._between = self._rows in borders
                if self._between or self._step % WARN_EVERY == 0:
                    self._warn()
            yield convert(raw, self._to)

    def _ends(self) -> list[tuple[int, int]] | None:
        """Of each epoch that is known, the rows of all ranks at its end, and its steps."""
        if self._side == "eval" or self.recipe["plan"] != "global":
            return None
        outlook = self._live().outlook()
        if outlook is None:
            return None
        ends, rows = [], 0
        for own, steps in zip(*outlook):
            rows += own
            ends.append((rows, steps))
        return ends

    def _epoch_index(self, ends: list[tuple[int, int]]) -> int:
        return sum(rows <= self._rows for rows, _ in ends)

    def _begun(self) -> State:
        """Where it began: this rank's part of what was loaded, or all of it where the ranks were others."""
        if not self._begin:
            return self._state(0, None)
        own = [part for part in self._begin if part["rank"] == self.rank]
        if own and own[0]["world_size"] == self.world_size:
            return dict(own[0])
        return {"format": FORMAT, "ranks": [dict(part) for part in self._begin]}

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole stream at the present step size, where that is known: with ``plan: global`` and ``epochs: N``."""
        ends = self._ends()
        if ends is None or self.recipe["epochs"] is None:
            return None
        return sum(steps for _, steps in ends)

    def _state(self, step: int, text: str | None) -> State:
        return {
            "format": FORMAT,
            "rank": self.rank,
            "world_size": self.world_size,
            "step": step,
            "state": text,
        }

    def __getstate__(self) -> dict[str, Any]:
        if self._stream is not None:
            raise UsageError(
                "a loader that was opened cannot be sent to another process: its threads stay in this one. Make a loader in "
                "each process"
            )
        return {name: value for name, value in self.__dict__.items() if name != "_to"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._to = converter(self._tensors)


def _parts(state: State | Sequence[State]) -> list[State]:
    """The ranks' states of whatever form they come in."""
    if isinstance(state, Mapping):
        parts = list(state["ranks"]) if "ranks" in state else [state]
    else:
        parts = list(state)
    for part in parts:
        if not isinstance(part, Mapping) or part.get("format") != FORMAT:
            raise CheckpointError("this is no state of a packmill loader (state_dict, gather_state)")
    if not parts:
        raise CheckpointError("there is no rank's state")
    return [dict(part) for part in parts]


def _not_in_workers() -> None:
    """Refuses to start among several workers of a DataLoader: each would deliver all of the stream."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch.utils, "data"):
        return
    worker = torch.utils.data.get_worker_info()
    if worker is not None and worker.num_workers > 1:
        raise UsageError(
            f"a packmill loader in one of {worker.num_workers} workers of a DataLoader would deliver every batch "
            f"{worker.num_workers} times: use num_workers=0, as packmill has threads of its own"
        )


def _close_all() -> None:
    """Ends the threads of loaders that are still there at the interpreter's end, and calls of functions: they may be waiting
    for Python, or in it."""
    _functions.end()
    for loader in list(_live):
        if loader._process == os.getpid():
            loader.close()


atexit.register(_close_all)
