"""packmill: packed, label-masked, fixed-shape batches of chat corpora for LLM post-training.

    import packmill

    for batch in packmill.Loader("recipe.yaml"):
        loss = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], labels=batch["labels"]).loss

``packmill.torch`` hands batches to a device and makes masks; ``packmill.hf``, ``packmill.lightning`` fit the loader into
trainers. Importing starts nothing, and neither does making a loader.
"""

from ._packmill import PROVENANCE_FIELDS, Tensor, __version__
from .errors import (
    CheckpointError,
    CorpusError,
    Error,
    InternalError,
    PackmillWarning,
    RecipeError,
    UsageError,
)
from .functions import Filter, Formatter
from .inspection import Inspection, inspect
from .loader import Loader, State
from .recipes import BatchShape, Mask, Pack, Recipe, Source
from .samples import samples
from .state import GatheredState, gather_state
from .tensors import Batch
from .trl import from_trl

__all__ = [
    "PROVENANCE_FIELDS",
    "Batch",
    "BatchShape",
    "CheckpointError",
    "CorpusError",
    "Error",
    "Filter",
    "Formatter",
    "GatheredState",
    "Inspection",
    "InternalError",
    "Loader",
    "Mask",
    "Pack",
    "PackmillWarning",
    "Recipe",
    "RecipeError",
    "Source",
    "State",
    "Tensor",
    "UsageError",
    "__version__",
    "from_trl",
    "gather_state",
    "inspect",
    "samples",
]
