"""A scikit-learn model that learns in pieces, and goes on from its checkpoint wherever it is killed.

singlepoint submit run -- python examples/programs/partial_fit.py
"""

import json
import os
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import SGDClassifier

STEPS = int(os.environ.get("STEPS", "200"))

checkpoint = Path(os.environ["SINGLEPOINT_CHECKPOINT_DIR"], "model.joblib")
output = Path(os.environ["SINGLEPOINT_OUTPUT_DIR"])


def piece(step: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of one step: the same ones in every attempt."""
    chance = np.random.default_rng(step)
    rows = chance.normal(size=(64, 8))
    return rows, (rows[:, 0] + 0.5 * rows[:, 1] > 0).astype(int)


def save(state: dict) -> None:
    """Whole or not at all, wherever it is killed."""
    part = checkpoint.with_suffix(".part")
    joblib.dump(state, part)
    os.replace(part, checkpoint)


state = joblib.load(checkpoint) if checkpoint.exists() else {"done": 0, "model": SGDClassifier(random_state=7)}
for step in range(state["done"], STEPS):
    rows, answers = piece(step)
    state["model"].partial_fit(rows, answers, classes=[0, 1])
    state["done"] = step + 1
    if state["done"] % 20 == 0:
        save(state)
        line = {"step": state["done"], "total": STEPS, "metrics": {"accuracy": state["model"].score(*piece(10**6))}}
        with open(os.environ["SINGLEPOINT_PROGRESS_FILE"], "a") as told:
            told.write(json.dumps(line) + "\n")

np.savetxt(output / "weights.txt", np.append(state["model"].coef_, state["model"].intercept_), fmt="%.17g")
