"""How much of the Rust loader's speed Python sees: the binary and `packmill.Loader` in turn on one recipe.

    python benches/peers/python_share.py RECIPE [--binary target/release/packmill] [--epochs 10] [--rounds 5]

Needs the package installed as a release build. Both count from the tokenizer's loading to the last batch, imports left out; the
loader's batches become torch tensors, which are looked at no more than by a trainer that hands them on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time

import torch  # noqa: F401  (imported before the clock runs)

import packmill


def by_binary(binary: str, recipe: str, epochs: int) -> tuple[float, str]:
    """Tokens a second, and the digest."""
    command = [binary, "stream", recipe, "--epochs", str(epochs), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    return report["tokens"] / (report["load_s"] + report["elapsed_s"]), report["digest"]


def by_python(recipe: str, epochs: int) -> tuple[float, str]:
    started = time.perf_counter()
    tokens = 0
    with packmill.Loader(recipe, rank=0, world_size=1, epochs=epochs) as loader:
        for batch in loader:
            tokens += batch["num_tokens"]
        seconds = time.perf_counter() - started
        return tokens / seconds, loader.progress()["digest"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--binary", default="target/release/packmill")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    shares = []
    for _ in range(given.rounds):
        rust, own = by_binary(given.binary, given.recipe, given.epochs)
        python, seen = by_python(given.recipe, given.epochs)
        assert own == seen, "not the same rows"
        shares.append(python / rust)
        print(f"binary {rust / 1e6:.2f}, Python {python / 1e6:.2f} million tokens/s: {python / rust:.1%}", flush=True)
    print(f"median of {given.rounds} rounds: Python sees {statistics.median(shares):.1%} of the binary's tokens a second")


if __name__ == "__main__":
    main()
