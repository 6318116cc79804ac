"""A loop with Accelerate, which leaves a packmill loader alone."""

from __future__ import annotations

import accelerate
import torch
from _common import model, recipe

import packmill

accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
loader = packmill.Loader(
    recipe(epochs=None, batch={"rows": 2, "step_rows": 4 * accelerator.num_processes}),
    rank=accelerator.process_index,
    world_size=accelerator.num_processes,
    steps=5,
)
net = model()
net, optimizer, prepared = accelerator.prepare(net, torch.optim.AdamW(net.parameters()), loader)
assert prepared is loader

step = []
for batch in loader:
    step.append(batch)
    if len(step) < loader.micro_batches:
        continue
    own = torch.tensor(sum(part["num_label_tokens"] for part in step))
    targets = int(accelerator.reduce(own))
    total = 0.0
    for part in step:
        with accelerator.accumulate(net):
            inputs = {name: part[name] for name in ("input_ids", "position_ids", "labels")}
            loss = net(**inputs, num_items_in_batch=targets).loss
            # Gradients are averaged over ranks and accumulation; the loss is a sum's part already.
            accelerator.backward(loss * accelerator.num_processes * loader.micro_batches)
            optimizer.step()
            optimizer.zero_grad()
            total += float(loss.detach())
    accelerator.print(f"loss {total:.4f} over {targets} targets")
    step = []
