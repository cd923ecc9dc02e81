"""`metrics.jsonl`: one line an epoch, for people and for curves.

On resume it is cut back to the checkpoint, so that no epoch stands in it twice. Cutting makes a new file, and each
attempt writes to the one it made: what an attempt still writes after it was replaced is lost with its old file.
The trainer's state does not depend on it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singlepoint.jobs import documents
from singlepoint.jobs.documents import Malformed
from singlepoint.jobs.failpoints import reach
from singlepoint.jobs.store.durable import Fence, explained, put_in_place

if TYPE_CHECKING:  # what runs programs needs no numpy
    from singlepoint.worker.nn.learning.trainer import EpochReport


class MetricsLog:
    """The metrics of one job, written by one attempt. Raises StorageFull when a line finds no space.

    fence: held while the attempt's file gets its name; raises Superseded when the attempt is not the newest.
    """

    def __init__(self, path: Path, fence: Fence) -> None:
        self._path = path
        self._fence = fence
        self._descriptor: int | None = None

    def cut_back_to(self, step: int) -> float:
        """Drop the lines after `step`; answers the seconds of work that the last one kept tells of."""
        kept = self._lines_until(step)
        self.close()
        with put_in_place(self._path, point="metrics.cut", fence=self._fence) as file:
            file.write("".join(json.dumps(line) + "\n" for line in kept).encode())
            self._descriptor = os.dup(file.fileno())
        return float(kept[-1]["wall_s"]) if kept else 0.0

    def add(self, report: EpochReport, wall_s: float) -> None:
        self.write(
            {
                "epoch": report.epoch,
                "step": report.step,
                "loss": report.loss,
                "validation_loss": report.validation_loss,
                **report.metrics,
                "wall_s": round(wall_s, 6),
            }
        )

    def write(self, line: Mapping[str, Any]) -> None:
        """One line, with the `step` it tells of."""
        with explained(self._path):
            reach("metrics.write")
            self._write(json.dumps(line) + "\n")

    def sync(self) -> None:
        """Make the lines durable: called before a checkpoint that counts on them."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lines_until(self, step: int) -> list[dict[str, Any]]:
        kept: list[dict[str, Any]] = []
        with contextlib.suppress(FileNotFoundError, Malformed):
            # A line torn by a crash ends the list: it and what follows never happened.
            for raw in self._path.read_bytes().splitlines():
                line = documents.parse_object(raw)
                if documents.whole(line, "step") > step:
                    break
                kept.append(line)
        return kept

    def _write(self, text: str) -> None:
        assert self._descriptor is not None, "cut_back_to comes first"
        content = text.encode()
        while content:
            content = content[os.write(self._descriptor, content) :]
