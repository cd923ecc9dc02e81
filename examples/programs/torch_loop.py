"""A PyTorch loop with a checkpoint of its own: it saves when it is asked to stop, and every few steps besides.

singlepoint submit run -- python examples/programs/torch_loop.py
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

STEPS = int(os.environ.get("STEPS", "200"))
EVERY = 20

checkpoint = Path(os.environ["SINGLEPOINT_CHECKPOINT_DIR"], "state.pt")
output = Path(os.environ["SINGLEPOINT_OUTPUT_DIR"])
asked_to_stop = False


def on_request(_number: int, _frame: object) -> None:
    """Only a flag: saving in the middle of whatever was interrupted could break it."""
    global asked_to_stop
    asked_to_stop = True


signal.signal(signal.SIGTERM, on_request)
torch.set_num_threads(int(os.environ["SINGLEPOINT_CPUS"]))
torch.manual_seed(7)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
done = 0
if checkpoint.exists():
    state = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    done = state["done"]


def save() -> None:
    """Whole or not at all, wherever it is killed."""
    part = checkpoint.with_suffix(".part")
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "done": done}, part)
    os.replace(part, checkpoint)


for step in range(done, STEPS):
    chance = torch.Generator().manual_seed(step)  # the same rows in every attempt
    rows = torch.randn(64, 8, generator=chance)
    loss = torch.nn.functional.mse_loss(model(rows), rows[:, :1] + 0.5 * rows[:, 1:2])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    done = step + 1
    if done % EVERY == 0 or asked_to_stop:
        save()
        with open(os.environ["SINGLEPOINT_PROGRESS_FILE"], "a") as told:
            told.write(json.dumps({"step": done, "total": STEPS, "loss": loss.item()}) + "\n")
    if asked_to_stop:
        sys.exit(0)

weights = [f"{value!r}\n" for values in model.state_dict().values() for value in values.flatten().tolist()]
(output / "weights.txt").write_text("".join(weights))
