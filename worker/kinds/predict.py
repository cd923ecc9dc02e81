"""Score a data set as a job: read rows in tiles, predict, write; each row exactly once, in order.

What decides the bytes of the output (model, tile, input) is settled at the first attempt and obeyed by later
ones. Finished rows are counted in parts (`shards`), so a crash costs only the rows since the last count. The
output appears under its name whole, in the same breath as the job's last move.

This process finds the rows in the input and writes the finished ones. Parsing, scoring and formatting are a function
of a tile's bytes, applied here when one core is granted, and else by children, one on each core.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singlepoint.jobs.client.find import find_model
from singlepoint.jobs.errors import InvalidInput, NotFound, NotPermitted, Problem
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.job import PredictSpec
from singlepoint.jobs.store.durable import move_into_place
from singlepoint.jobs.store.job_files import staged_output
from singlepoint.worker.checkpoints.when_due import CheckpointDue
from singlepoint.worker.data.formats import ArrayFile, Piece, RowSource, TableRows, Tile, member_of
from singlepoint.worker.data.formats.paths import Arrays
from singlepoint.worker.data.formats.training import about_rows_of, shown_source
from singlepoint.worker.data.witness import Witness
from singlepoint.worker.ground import numeric_environment
from singlepoint.worker.ground.stop_requests import Stop
from singlepoint.worker.ground.stopping import answer, heard_at_once
from singlepoint.worker.ground.work import Outcome, Work
from singlepoint.worker.models import files, row_independence
from singlepoint.worker.models.predictor import ModelPredictor, Predictor
from singlepoint.worker.nn.inference import INFERENCE_ROWS
from singlepoint.worker.nn.learning.duration import answering_s
from singlepoint.worker.nn.network import Plan
from singlepoint.worker.scoring.answered import TILE_ROWS, answered, input_files, rows_for, truth_beside
from singlepoint.worker.scoring.children import ChildDied, Children, die_alike
from singlepoint.worker.scoring.comparison import Comparison
from singlepoint.worker.scoring.first_rows import look_over, told_of_input
from singlepoint.worker.scoring.output import OutputFormat, output_format
from singlepoint.worker.scoring.parts import Shards
from singlepoint.worker.scoring.scored import Scored

ROW_S, CELL_S = 1e-6, 0.3e-6
"""Seconds, roughly, to write a row's answer and to read a cell of a table."""


def check(spec: PredictSpec) -> Checked:
    """The model is whole, the input has its columns and the model can take its first rows, the output can be written.

    spec.model: a directory, or the id of a training that has yet to end, of which nothing can be told.
    """
    sources, output, reckoned_s = input_files(spec.input), Path(spec.output), 0.0
    changes: dict[str, object] = {"input": tuple(map(str, sources))} if len(sources) > 1 else {}
    if os.path.isabs(spec.model):
        model = files.load(Path(spec.model))
        rows = rows_for(model, sources, spec.pass_through, spec)
        assert model.preprocessor is not None  # else there are no rows for it
        last = look_over(rows, model.preprocessor, sources[0].name)
        reckoned_s = _reckoned_s(model.network.plan, rows, last, len(sources))
        output_format(output, ModelPredictor(model), rows.columns, spec.answer_prefix)
        changes |= rows.said if isinstance(rows, TableRows) else {}
    for source in sources:
        _check_output(output, source)
    summary = (f"input: {shown_source(sources, changes)}",)
    return Checked(spec.model_copy(update=changes), summary, reckoned_s=reckoned_s)


def _reckoned_s(plan: Plan, rows: RowSource, last: Tile | None, files: int) -> float:
    """By the shapes, and by how many rows there are, if anything tells. last: of the tiles that were looked at."""
    if isinstance(rows, TableRows):
        count = about_rows_of(rows.table, last, last.first_row + last.rows, files) if last is not None else 0
        return ((count or 0) * (ROW_S + CELL_S * len(rows.preprocessor.input_names))) + answering_s(plan, count or 0)
    count = rows.shape[0] if isinstance(rows, ArrayFile | Arrays) else 0
    return count * ROW_S + answering_s(plan, count)


def _size_and_time(sources: Sequence[Path]) -> tuple[int, int]:
    """What tells cheaply that the input is another than it was: its bytes, and when it was changed last (ns)."""
    statuses = [member_of(source)[0].stat() for source in sources]
    return sum(one.st_size for one in statuses), max(one.st_mtime_ns for one in statuses)


def _check_output(output: Path, source: Path) -> None:
    if not output.parent.is_dir():
        raise NotFound(f"output: the directory {output.parent} does not exist", hint="make it first")
    staged = staged_output(output, "12345678", 99999)  # the longest name that it has on its way
    too_long = len(os.fsencode(staged.name)) - os.pathconf(output.parent, "PC_NAME_MAX")
    if too_long > 0:
        raise InvalidInput(Problem("output", f"its name is {too_long} bytes too long", "choose a shorter one"))
    if output.is_dir():
        raise InvalidInput(Problem("output", f"{output} is a directory", "choose another file"))
    if not os.access(output.parent, os.W_OK):
        raise NotPermitted(f"output: {output.parent} may not be written", hint="choose another place")
    if output.exists() and source.samefile(output):
        raise InvalidInput(Problem("output", "is the input itself", "choose another file"))


def predict(work: Work) -> Outcome:
    """Do the prediction of one attempt. Raises Stopped when asked to stop, with finished rows counted."""
    prediction = Prediction.begin(work)
    try:
        while (stop := prediction.advance()) is not None:
            answer(work, stop, prediction.count_now)
    except ChildDied as death:
        work.log.warning("child_died step=%d: %s", work.step, death)
        prediction.count_now()
        die_alike(death)
    return prediction.finish()


@dataclass
class Prediction:
    """One attempt at a prediction, under way."""

    work: Work
    spec: PredictSpec
    predictor: Predictor
    rows: RowSource
    pieces: Iterator[Piece]
    format: OutputFormat
    shards: Shards
    witness: Witness
    file: str
    input_bytes: int
    due: CheckpointDue
    bit_identical: bool
    comparison: Comparison | None
    cursor: Mapping[str, Any] | None = None
    stop: Stop | None = None

    @classmethod
    def begin(cls, work: Work) -> Prediction:
        """Open model and input, check that they are what they were, and take over what is counted."""
        spec = work.spec
        assert isinstance(spec, PredictSpec)
        place = _model_place(work, spec.model)
        with heard_at_once(work):
            model = files.load(place)
        sources = input_files(spec.input)
        witness = Witness.of(member_of(source)[0] for source in sources)
        rows = rows_for(model, sources, spec.pass_through, spec)
        input_bytes, modified_ns = _size_and_time(sources)
        here = row_independence.environment(1)
        settled = work.settle_on(
            model_path=str(place),
            model_sha256=model.weights_sha256,
            model_document_sha256=model.document_sha256,
            input_bytes=input_bytes,
            input_modified_ns=modified_ns,
            tile_rows=-(-(spec.tile or TILE_ROWS) // INFERENCE_ROWS) * INFERENCE_ROWS,
        )
        first = work.stops.job.facts.get("environment") or work.settle_on(environment=here)["environment"]
        why = numeric_environment.differences(first, here)
        if why and "differs" not in work.stops.job.facts:
            work.settle_on(differs=why)  # for good: rows that are counted stay
        shards = Shards(work.files.parts, work.attempt, work.fence)
        with heard_at_once(work):
            problems = shards.resume(fresh_after=work.job.fresh_after)
        for problem in problems:
            work.log.warning("part_set_aside problem=%r", problem)
        work.first_step = work.step = shards.end_row
        if shards.end_row:
            work.log.info("prediction_resumed row=%d", shards.end_row)
        predictor = ModelPredictor(model)
        tile_rows = int(settled["tile_rows"])
        return cls(
            work,
            spec,
            predictor,
            rows,
            rows.pieces(shards.cursor, tile_rows),
            output_format(Path(spec.output), predictor, rows.columns, spec.answer_prefix),
            shards,
            witness,
            sources[0].name,
            input_bytes=input_bytes,
            due=CheckpointDue(work),
            bit_identical="differs" not in work.stops.job.facts,
            comparison=truth_beside(model, rows, predictor.columns),
        )

    def advance(self) -> Stop | None:
        """Score until no rows are left, or until a request to stop is due; answers which."""
        self.stop = None
        with self._scored() as scored:
            for piece, packed in scored:
                self.shards.write(Scored.unpacked(packed), piece.rows)
                self.cursor = piece.cursor
                self.work.step += piece.rows
                self.look_at_the_clock()
        return self.stop

    @contextmanager
    def _scored(self) -> Iterator[Iterator[tuple[Piece, bytes]]]:
        """The pieces and what became of them, packed, by this process or by children on the cores it has now."""
        wanted = self._until_asked_to_stop()
        if len(self.work.terms.cores) <= 1:
            yield ((piece, self.score(piece)) for piece in wanted)
            return
        with Children(self.score, self.work.terms) as children:
            self.work.meter.children = children.pids
            yield children.map(wanted)
        self.work.meter.children = ()

    def _until_asked_to_stop(self) -> Iterator[Piece]:
        """The pieces not scored yet. Those already handed out will be finished."""
        while (stop := self.work.stops.due()) is None:
            with self._told_of_input():
                piece = next(self.pieces, None)
            if piece is None:
                return
            yield piece
        self.stop = stop

    def score(self, piece: Piece) -> bytes:
        """Parse and predict the rows of one piece; what becomes of them, packed."""
        with self._told_of_input():
            tile, scores = answered(self.rows, piece, self.predictor)
        compared = self.comparison.rows(tile, scores) if self.comparison is not None else b""
        return Scored(self.format.rows(tile, scores), scores.unseen, compared).packed()

    def _told_of_input(self) -> AbstractContextManager[None]:
        return told_of_input(self.file)

    def look_at_the_clock(self) -> None:
        """Count the finished rows when it is time, and tell how far the work is."""
        if self.due.is_now():
            self.count_now()
            self.due.put_off()
        self.work.report(self._total_rows(), rows=self.work.step)

    def count_now(self) -> None:
        """Make all finished rows count: the answer to any request to stop. Raises InvalidInput if the input changed."""
        self.witness.require_unchanged("input")
        if self.cursor is not None:
            self.shards.count(dict(self.cursor))

    def _total_rows(self) -> int:
        """Rows in all, as far as can be told without reading on."""
        offset = int((self.cursor or {}).get("offset", 0))
        if not offset or not self.work.step:
            return 0
        return max(self.work.step, round(self.work.step * self.input_bytes / offset))

    def finish(self) -> Outcome:
        """The whole output, ready to get its name under the history's lock."""
        self.count_now()
        work, output = self.work, Path(self.spec.output)
        stage = staged_output(output, work.job.id, work.attempt)
        _require_directory(output)
        rows, unseen = self.shards.end_row, self.shards.unseen
        figures = self.comparison.figures(self.shards.compared()) if self.comparison is not None else {}
        with heard_at_once(work):
            digest = self.shards.assemble(stage, self.format.header(rows))
        for column, cells in unseen.items():
            work.log.warning("never_seen_in_training column=%r cells=%d rows=%d", column, cells, rows)
        facts = {
            "end": "succeeded",
            "bit_identical": self.bit_identical,
            "metrics": {"rows": rows, **figures},
            "result": {"path": str(output), "sha256": digest, "rows": rows, "bad_rows": 0, "unseen": unseen},
        }

        def publish() -> Mapping[str, Any]:
            move_into_place(stage, output, point="publish.output")
            return {}

        return Outcome(Event.SUCCEED, facts, publish)


def _model_place(work: Work, reference: str) -> Path:
    """Where the model lies; once an attempt has settled on it, a newer version changes nothing."""
    settled = work.stops.job.facts.get("model_path")
    place = Path(settled or find_model(work.place.store, reference))
    if not place.is_absolute():
        raise InvalidInput(
            Problem("model", f"training {reference} has not ended", "submit with --after to wait for it")
        )
    return place


def _require_directory(output: Path) -> None:
    if not output.parent.is_dir():
        raise NotFound(
            f"output: the directory {output.parent} does not exist", hint="create it, then `singlepoint retry`"
        )
