"""Train a model as a job: restore, step, save now and then, publish.

The arithmetic is `nn.learning.trainer`'s and is a function of spec, data and seed. This file adds what time and the
world need: checkpoints at the interval the terms grant, answers to requests to stop, progress, metrics, and a
model in the registry at the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from singlepoint.jobs.amounts import format_bytes
from singlepoint.jobs.errors import InvalidInput, NotFound, Problem, StorageFull
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.spec.base import as_known_to_format_1
from singlepoint.jobs.spec.common import MEMORY_DEFAULT_BYTES, Checked
from singlepoint.jobs.spec.job import TrainSpec
from singlepoint.jobs.store.durable import PRIVATE, make_directory
from singlepoint.worker.checkpoints import checkpoint
from singlepoint.worker.checkpoints.checkpoint import Counters
from singlepoint.worker.checkpoints.saver import Saver
from singlepoint.worker.checkpoints.when_due import CheckpointDue
from singlepoint.worker.data.files_digest import FilesDigest
from singlepoint.worker.data.formats.training import data_files
from singlepoint.worker.data.preprocessing.rows import LazyRows
from singlepoint.worker.data.witness import Witness
from singlepoint.worker.fitting import prepared, shared
from singlepoint.worker.fitting.check import check_training
from singlepoint.worker.fitting.loading import load_training_set
from singlepoint.worker.fitting.training import new_network, new_trainer, trained_model
from singlepoint.worker.fitting.training_set import TrainingSet
from singlepoint.worker.ground import numeric_environment
from singlepoint.worker.ground.stopping import answer, heard_at_once
from singlepoint.worker.ground.work import Outcome, Work
from singlepoint.worker.models import files, registry
from singlepoint.worker.nn.arrays import Array
from singlepoint.worker.nn.learning.trainer import EpochReport, Trainer

from .metrics_log import MetricsLog


def check(spec: TrainSpec) -> Checked:
    """The data can be read, its columns are there, the network's shapes fit, and all of it fits the memory."""
    outlook = check_training(spec, Path.cwd())
    memory, granted = outlook.memory, spec.resources.memory
    if granted is not None and memory.total > granted:
        asked = f"is {format_bytes(granted)}, but the training takes {format_bytes(memory.total)} ({memory})"
        enough = -(-memory.total // 2**20)
        hint = f"set it to '{enough}MiB', or make network or training.batch_size smaller"
        raise InvalidInput(Problem("resources.memory", asked, hint))
    changes: dict[str, object] = {
        "data": spec.data.model_copy(update=dict(outlook.data)),
        "preprocessing": spec.preprocessing.model_copy(update=dict(outlook.preprocessing)),
    }
    if granted is None and memory.total > MEMORY_DEFAULT_BYTES:
        changes["resources"] = spec.resources.with_memory(-(-memory.total // 2**20) * 2**20, "estimate")
    return Checked(spec.model_copy(update=changes), outlook.summary, outlook.warnings, outlook.reckoned_s)


def train(work: Work) -> Outcome:
    """Do the training of one attempt. Raises Stopped when asked to stop, with the state saved."""
    training = Training.begin(work)
    try:
        training.restore()
        training.run()
        return training.finish()
    finally:
        training.saver.end()


@dataclass
class Training:
    """One attempt at a training, under way.

    worked_s: seconds of work before this attempt, for the time axis of the metrics.
    """

    work: Work
    spec: TrainSpec
    data: TrainingSet
    witness: Witness
    trainer: Trainer
    saver: Saver
    due: CheckpointDue
    metrics: MetricsLog
    identity: str
    environment: Mapping[str, Any]
    began_s: float
    worked_s: float = 0.0
    next_line_s: float = 0.0
    differs: str = ""

    @classmethod
    def begin(cls, work: Work) -> Training:
        """Read the data, build the network, and take the place of whatever attempt was before."""
        spec = work.spec
        assert isinstance(spec, TrainSpec)
        with heard_at_once(work):
            data, witness = _training_set(work, spec)
        work.settle_on(data_sha256=data.digest)
        with heard_at_once(work):
            trainer = new_trainer(new_network(spec, data), spec.training, data)
        directory = work.files.checkpoints
        make_directory(directory)
        identity = _identity(spec, data, trainer.state_size)
        here = numeric_environment.fingerprint(len(work.terms.cores))

        def write(vector: Array, counters: Mapping[str, Any]) -> None:
            facts = Counters(int(counters["step"]), work.attempt, identity, here, counters)
            metrics.sync()
            checkpoint.save(directory, facts, vector, fence=work.fence)

        metrics = MetricsLog(work.files.metrics, work.fence)
        saver = Saver(trainer.state_size, trainer.network.dtype, trainer.snapshot, write, work.place.monotonic)
        return cls(
            work,
            spec,
            data,
            witness,
            trainer,
            saver,
            CheckpointDue(work),
            metrics,
            identity,
            here,
            work.place.monotonic(),
        )

    def restore(self) -> None:
        """Go on from the newest sound checkpoint, or begin."""
        work = self.work
        with heard_at_once(work):
            sound, damages = checkpoint.newest_sound(
                work.files.checkpoints, self.identity, fresh_after=work.job.fresh_after
            )
        for damage in damages:
            work.log.warning("checkpoint_set_aside file=%s problem=%r", damage.path.name, damage.problem)
        if sound is not None:
            with heard_at_once(work):
                self.trainer.restore(sound.read_into, dict(sound.counters.trainer))
            self.differs = self._why_bits_may_differ(sound.counters.environment)
            work.log.info("checkpoint_restored step=%d saved_by=%d", sound.counters.step, sound.counters.attempt)
        work.first_step = work.step = self.trainer.step
        self.worked_s = self.metrics.cut_back_to(self.trainer.step)
        self.due.put_off()

    def _why_bits_may_differ(self, before: Mapping[str, Any]) -> str:
        """Why the result may not be what an undisturbed run gives; once true it stays true for the job."""
        why = numeric_environment.differences(before, self.environment) or str(self.work.job.facts.get("differs", ""))
        if why:
            self.work.log.warning("bits_may_differ why=%r", why)
            if "differs" not in self.work.job.facts:
                self.work.settle_on(differs=why)
        return why

    def run(self) -> None:
        """Step until the training has finished, or is asked to stop."""
        while not self.trainer.finished:
            stop = self.work.stops.due()
            if stop is not None:
                answer(self.work, stop, self.save_now)
            report = self.trainer.advance()
            self.work.step = self.trainer.step
            if report is not None:
                self.note(report)
            self.look_at_the_clock()

    def note(self, report: EpochReport) -> None:
        """Write an epoch down."""
        self._log_epoch(report)
        self.metrics.add(report, self.worked_s + self.work.place.monotonic() - self.began_s)

    def _log_epoch(self, report: EpochReport) -> None:
        """A line for whoever follows the log, at most one a second."""
        now_s = self.work.place.monotonic()
        if now_s < self.next_line_s and not self.trainer.finished:
            return
        self.next_line_s = now_s + 1.0
        scores = {"validation_loss": report.validation_loss, **report.metrics}
        shown = " ".join(f"{name}={value:.6g}" for name, value in scores.items() if value is not None)
        self.work.log.info("epoch_ended epoch=%d step=%d loss=%.6g %s", report.epoch, report.step, report.loss, shown)

    def look_at_the_clock(self) -> None:
        """Save when it is time, and tell how far the work is."""
        if self.due.is_now():
            self.require_same_data()
            self.saver.save()
            self.work.meter.saves = self.saver.cost
            self.due.put_off(self.saver.cost)
        self.work.report(self.trainer.total_steps, epoch=self.trainer.epoch, **self._losses())

    def _losses(self) -> dict[str, float]:
        """The loss of the epoch under way, and the validation loss of the last one done."""
        latest = self.trainer.latest
        loss = self.trainer.loss if latest is None or self.trainer.loss is not None else latest.loss
        found = {"loss": loss, "validation_loss": None if latest is None else latest.validation_loss}
        return {name: value for name, value in found.items() if value is not None}

    def require_same_data(self) -> None:
        """Nothing is kept of what was learned from a file that was changed under us. Raises InvalidInput.

        What was read into memory may change as it likes.
        """
        if any(isinstance(x, LazyRows) and isinstance(x.raw, np.memmap) for x in (self.data.x, self.data.x_validation)):
            self.witness.require_unchanged("data.path")

    def save_now(self) -> None:
        """Save and wait until it is on disk: the answer to any request to stop."""
        self.require_same_data()
        self.saver.save(wait=True)
        self.work.meter.saves = self.saver.cost

    def finish(self) -> Outcome:
        """The trained model, ready to be published under the history's lock."""
        self.require_same_data()
        self.saver.leave()
        self.work.meter.saves = self.saver.cost
        self.trainer.finish()
        model = trained_model(self.trainer, self.data, self._provenance())
        stage = _stage(self.work)
        saved = files.save(model, stage, mode=PRIVATE)
        identical = not self.differs
        facts = {
            "end": "succeeded",
            "metrics": dict(model.metrics),
            "bit_identical": identical,
            **({} if identical else {"reason": f"bits may differ: {self.differs}"}),
        }
        self.work.step = self.trainer.step
        work = self.work
        publication = registry.ready(
            work.place.home, work.job.name, work.job.id, stage, saved.sha256, first=work.attempt == 1
        )
        return Outcome(Event.SUCCEED, facts, publication.publish)

    def _provenance(self) -> dict[str, Any]:
        """What a model says of its origin. Only what does not depend on how often the job was disturbed."""
        return {
            "job": self.work.job.id,
            "fingerprint": self.work.job.fingerprint,
            "data_sha256": self.data.digest,
            "rows": self.data.rows,
            "seed": self.spec.training.seed,
            "epochs": self.trainer.epoch,
            "spec": self.spec.model_dump(mode="json", include={"data", "preprocessing", "model", "training"}),
            "environment": dict(self.environment),
        }


def _training_set(work: Work, spec: TrainSpec) -> tuple[TrainingSet, Witness]:
    """The prepared rows that an earlier attempt kept, or another job on the same data, or those of the files, which are
    then kept for the next.

    With them what the files were. Raises InvalidInput when one was changed while it was read and digested.
    """
    gone: NotFound | None = None
    try:
        sources = data_files(spec.data, work.directory)
    except NotFound as error:
        gone, sources = error, []
    witness = Witness.of(sources)
    found = prepared.kept(work.files.prepared, sources)
    if found is not None:
        data, changed = found
        for name in changed:
            work.log.warning("data_changed_since file=%s: this job goes on with what it read first", name)
        work.log.info("prepared_rows_taken rows=%d", data.rows)
        return data, witness
    if gone is not None:
        raise gone
    return _prepared(work, spec, sources, witness), witness


def _prepared(work: Work, spec: TrainSpec, sources: Sequence[Path], witness: Witness) -> TrainingSet:
    """Rows that no earlier attempt kept: from another job on the same data, or read; kept for those that follow."""
    own, home, recipe = work.files.prepared, work.place.home, shared.recipe_of(spec, work.directory)
    signs = prepared.signs_of(sources)
    data = shared.take(home, recipe, own, sources, lambda: FilesDigest(sources).hexdigest())
    if data is None:
        data = load_training_set(spec, work.directory)
    else:
        work.log.info("shared_rows_taken rows=%d", data.rows)
    witness.require_unchanged("data.path")
    if not own.exists() and prepared.is_worth_keeping(data, sources, shared.most_bytes(home)):
        with contextlib.suppress(StorageFull):  # then the next attempt reads the files again
            prepared.keep(own, data, signs, work.fence)
            shared.offer(home, recipe, own, data.digest)
    return data


def _identity(spec: TrainSpec, data: TrainingSet, state_size: int) -> str:
    """What a checkpoint belongs to: everything that decides the bits, and nothing else."""
    parts = {"data": spec.data, "preprocessing": spec.preprocessing, "model": spec.model, "training": spec.training}
    sections = {name: as_known_to_format_1(part) for name, part in parts.items()}
    sections["data"].pop("path")  # the digest says which data it is, wherever it lies
    text = json.dumps([sections, data.digest, state_size], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _stage(work: Work) -> Path:
    """An empty directory that carries this attempt's number."""
    stage = work.files.stage(work.attempt)
    stage.mkdir(0o700, parents=True)
    return stage
