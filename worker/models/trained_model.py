"""A trained model as a value: a network, what rows go through before it, and what its answers mean.

Nothing here changes: training makes one, files and ONNX take one, predictors answer from one. Its network's arrays are
shared by all of them, and none writes there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from singlepoint.jobs.spec.data import Task
from singlepoint.worker.data.preprocessing import Preprocessor
from singlepoint.worker.data.target_scale import TargetScale
from singlepoint.worker.data.targets import ClassType
from singlepoint.worker.nn.network import Network


@dataclass(frozen=True)
class TrainedModel:
    """A network with all that is needed to use it.

    preprocessor: None when rows are numbers that enter the network as they are.  classes: in the order of the network's
    outputs, None for values.  class_type: whether the targets were text or whole numbers.  target_names: of the
    target's columns.  metrics, provenance: how good it is and where it comes from, plain JSON values.
    target_scale: from the network's outputs to values; None: the outputs are the values.
    weights_sha256, document_sha256: of its files, once it was saved or loaded; the second covers everything.
    """

    network: Network
    preprocessor: Preprocessor | None
    task: Task
    classes: tuple[str, ...] | None = None
    class_type: ClassType = "text"
    target_names: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    document_sha256: str = ""
    target_scale: TargetScale | None = None
