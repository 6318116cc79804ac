"""A loop by hand: gradients accumulated over a step's micro-batches, normalised by the step's targets."""

from __future__ import annotations

import torch
from _common import model, recipe

import packmill
import packmill.torch

net = model()
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
loader = packmill.Loader(recipe(epochs=None, batch={"rows": 2, "step_rows": 4}), steps=5)
batches = packmill.torch.to_device(loader, "cuda" if torch.cuda.is_available() else "cpu")

step = []
for batch in batches:
    step.append(batch)
    if len(step) < loader.micro_batches:
        continue
    # On several ranks: the sum over all, and gradients times the world size.
    targets = sum(part["num_label_tokens"] for part in step)
    total = 0.0
    for part in step:
        logits = net(input_ids=part["input_ids"], position_ids=part["position_ids"]).logits
        # Labels are aligned: each position's target is the next one's label.
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), part["labels"][:, 1:].flatten(), reduction="sum"
        )
        (loss / targets).backward()
        total += float(loss.detach()) / targets
    optimizer.step()
    optimizer.zero_grad()
    print(f"loss {total:.4f} over {targets} targets")
    step = []
