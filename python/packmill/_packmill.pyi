from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

__all__ = [
    "PROVENANCE_FIELDS",
    "Samples",
    "Stream",
    "Tensor",
    "__version__",
    "cache_folder",
    "check_recipe",
    "convert_trl",
    "describe_state",
    "end_functions",
    "inspect",
    "load_recipe",
    "main",
    "recipe_schema",
]

__version__: str
PROVENANCE_FIELDS: list[str]

@final
class Tensor:
    """One tensor of a batch, row-major, on the CPU: ``torch.from_dlpack`` and its like take it without a copy."""

    @property
    def shape(self) -> list[int]: ...
    def data_ptr(self) -> int: ...
    def __dlpack__(
        self,
        *,
        stream: Any | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...

@final
class Stream:
    """A stream of batches that has been opened."""

    @staticmethod
    def open(
        recipe: str,
        folder: str,
        *,
        rank: int,
        world_size: int,
        wide: bool,
        eval_side: bool,
        steps: int | None,
        cache: str | None,
        states: list[str],
        functions: Sequence[tuple[str | None, str, Callable[[list[bytes]], list[bytes | str | None]]]],
    ) -> Stream: ...
    def next_batch(self) -> tuple[dict[str, Any], tuple[int, int] | None] | None: ...
    def state(self, step: int | None) -> str: ...
    def fingerprint(self) -> str: ...
    def progress(self) -> str: ...
    def stats(self) -> dict[str, dict[str, float]]: ...
    def warnings(self) -> list[tuple[str, str | None, str, str, str]]: ...
    def outlook(self) -> tuple[list[int], list[int]] | None: ...
    def sources(self) -> list[tuple[str, list[str]]]: ...
    def close(self) -> None: ...

@final
class Samples:
    """What each record becomes, in corpus order."""

    @staticmethod
    def open(
        recipe: str,
        folder: str,
        *,
        eval_side: bool,
        cache: str | None,
        functions: Sequence[tuple[str | None, str, Callable[[list[bytes]], list[bytes | str | None]]]],
    ) -> Samples: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def __next__(self) -> dict[str, Any]: ...

def load_recipe(path: str, changes: str) -> tuple[str, str]: ...
def check_recipe(recipe: str, folder: str, changes: str) -> str: ...
def recipe_schema() -> str: ...
def cache_folder() -> str: ...
def main(arguments: list[str]) -> int: ...
def inspect(
    recipe: str,
    folder: str,
    *,
    skip: int,
    rows: int,
    width: int,
    cache: str | None,
    functions: Sequence[tuple[str | None, str, Callable[[list[bytes]], list[bytes | str | None]]]],
) -> tuple[str, str]: ...
def end_functions() -> None: ...
def convert_trl(config: str, world_size: int | None) -> tuple[str, list[tuple[str, str, str]]]: ...
def describe_state(text: str) -> tuple[int, int, int, int]: ...
