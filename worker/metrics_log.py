"""`metrics.jsonl`: one line an epoch, for people and for curves.

On resume it is cut back to the checkpoint, so that no epoch stands in it twice. The trainer's state does not
depend on it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jobs.durable import explained

from .nn.trainer import EpochReport


class MetricsLog:
    """The metrics of one training. A line that cannot be written for lack of space is an error (StorageFull)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cut_back_to(self, step: int) -> float:
        """Drop the lines after `step`; answers the seconds of work that the last one kept tells of."""
        kept: list[dict[str, Any]] = []
        if self._path.exists():
            for raw in self._path.read_bytes().splitlines():
                try:
                    line = json.loads(raw)
                except ValueError:  # torn by a crash: it and what follows never happened
                    break
                if line["step"] > step:
                    break
                kept.append(line)
        temporary = self._path.with_name(".metrics.tmp")
        with explained(self._path):
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
            os.replace(temporary, self._path)
        return float(kept[-1]["wall_s"]) if kept else 0.0

    def add(self, report: EpochReport, wall_s: float) -> None:
        line = {
            "epoch": report.epoch,
            "step": report.step,
            "loss": report.loss,
            "validation_loss": report.validation_loss,
            **report.metrics,
            "wall_s": round(wall_s, 6),
        }
        with explained(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def sync(self) -> None:
        """Make the lines durable: called before a checkpoint that counts on them."""
        if self._path.exists():
            descriptor = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
