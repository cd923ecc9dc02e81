"""What jobs that take alike have in common, as one short word: the kind of work, the data, the model.

What only changes the result is left out (name, seed, learning rate, priority), and so is how long to go on (epochs):
the ledger has seconds and steps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from .job import Spec

Document = Mapping[str, Any]


def likeness(spec: Spec) -> str:
    """Sixteen hex digits; two jobs with the same are expected to take and use about the same."""
    document = spec.model_dump(mode="json", exclude_none=True)
    decisive = _DECISIVE.get(spec.kind, _all)(document)
    text = json.dumps([spec.kind, decisive], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of_a_training(document: Document) -> Any:
    training = {name: value for name, value in document["training"].items() if name not in ("epochs", "seed")}
    training["optimiser"] = document["training"]["optimiser"]["type"]
    return [document["data"], document.get("preprocessing"), document["model"], training]


def _of_a_prediction(document: Document) -> Any:
    return [document["model"], document["input"]]


def _all(document: Document) -> Any:
    """Of a kind of which nothing else is known: everything but what it is called and when its turn comes."""
    return {name: value for name, value in document.items() if name not in ("name", "priority", "after", "retries")}


_DECISIVE: dict[str, Callable[[Document], Any]] = {"train": _of_a_training, "predict": _of_a_prediction}
