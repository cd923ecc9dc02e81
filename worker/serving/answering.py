"""What waits, answered: requests for one model are computed together, and each gets its own rows back.

There is no timer: whatever has come by the time the last batch is done is the next batch, so one caller never waits for
another, and many fill the sixteen lanes. Of many, the first sixteen are answered first, then as many as were answered
already: who asked has something to do while the rest is computed. The bits of an answer do not depend on who shared its
batch. A batch that fails is done again one request at a time, so that a bad row fails alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache
from math import inf
from typing import NamedTuple

from pydantic_core import to_json

from singlepoint.jobs.errors import InvalidInput
from singlepoint.jobs.host.frames import TOGETHER, Frame, framed, head_bytes
from singlepoint.worker.data.preprocessing import Raw, row_count
from singlepoint.worker.models.predictor import Scores

from . import inference_protocol, invocations
from .shelf import Loaded, Shelf
from .signature import Refused, cut, joined

log = logging.getLogger("singlepoint.serving")

MOST_ROWS = 65_536
"""Of one request."""

BATCH_ROWS = 4096
"""Computed together, at most."""

LOOK_S = 0.002
"""For so long it is believed which models there are: the command that removed one has not ended yet."""

DEADLINE_S = 30.0
"""After it was asked, nobody waits for an answer any more: the page has told so."""


Body = tuple[bytes, int | None]
"""An answer, and the length of its JSON where tensors follow that."""


class Waiting(NamedTuple):
    """A request that is understood: its rows, and what makes an answer of their scores.

    kin: those of one may be joined.
    """

    id: int
    loaded: Loaded
    raw: Raw
    rows: int
    finish: Callable[[Scores], Body]
    kin: Hashable


class Answering:
    """Frames in, frames out, in a thread whose numpy warns of nothing."""

    def __init__(self, shelf: Shelf, clock: Callable[[], float] = time.monotonic) -> None:
        self._shelf = shelf
        self._clock = clock
        self._looked_s = -inf
        self._asked: dict[str, Callable[[Frame], bytes | Waiting]] = {
            "server": lambda frame: _answer(frame.id, to_json(SERVER)),
            "metadata": self._metadata,
            "ready": self._ready,
            "index": self._index,
            "infer": self._infer,
            "invocations": self._invocations,
        }

    def answer(self, frames: Sequence[Frame]) -> Iterator[bytes]:
        """An answer for each frame, as it is sent, in any order, some at a time: as soon as they are there.

        A frame whose time is over is answered without being computed.
        """
        now_s = self._clock()
        if now_s - self._looked_s >= LOOK_S:
            self._shelf.look()
            self._looked_s = now_s
        if len(frames) == 1:
            understood = self._understood(frames[0])
            yield understood if isinstance(understood, bytes) else _alone(understood, self._clock())
            return
        begin = 0
        while begin < len(frames):
            end = begin + max(TOGETHER, begin)
            groups: dict[Hashable, list[Waiting]] = {}
            at_once = b""
            for frame in frames[begin:end]:
                understood = self._understood(frame)
                if isinstance(understood, bytes):
                    at_once += understood
                else:
                    groups.setdefault(understood.kin, []).append(understood)
            if at_once:
                yield at_once
            for group in groups.values():
                for batch in _batches(group):
                    yield self._together(batch)
            begin = end

    def _understood(self, frame: Frame) -> bytes | Waiting:
        try:
            if self._clock() > frame.at_s + DEADLINE_S:
                raise Refused(504, "the deadline was over before its turn came")
            return self._asked[frame.head["what"]](frame)
        except Refused as refused:
            return _refusal(frame.id, refused)
        except Exception as error:  # noqa: BLE001 - told and logged as a defect
            return _defect(frame.id, error)

    def _together(self, batch: Sequence[Waiting]) -> bytes:
        began_s = self._clock()
        if len(batch) == 1:
            return _alone(batch[0], began_s)
        try:
            scores = batch[0].loaded.predictor.predict_quietly(joined([one.raw for one in batch]))
        except Exception:  # noqa: BLE001 - whose fault it was, each one tells when it is alone
            return b"".join([_alone(one, began_s) for one in batch])
        answers, begin, rows = [], 0, sum(one.rows for one in batch)
        for one in batch:
            answers.append(_finished(one, cut(scores, begin, begin + one.rows), rows, began_s))
            begin += one.rows
        return b"".join(answers)

    # ---- what may be asked -------------------------------------------------------------------------------------

    def _metadata(self, frame: Frame) -> bytes:
        loaded = self._model(frame)
        document = {
            "name": loaded.name,
            "versions": [str(number) for number in self._shelf.versions(loaded.name)],
            "platform": "singlepoint_safetensors",
            "inputs": [one.to_json() for one in loaded.signature.inputs],
            "outputs": [one.to_json() for one in loaded.signature.outputs],
        }
        return _answer(frame.id, to_json(document))

    def _ready(self, frame: Frame) -> bytes:
        return _answer(frame.id, to_json({"name": self._model(frame).name, "ready": True}))

    def _index(self, frame: Frame) -> bytes:
        only_ready = b"true" in frame.body.replace(b" ", b"").lower().partition(b'"ready":')[2][:5]
        rows = [
            {"name": name, "version": str(number), "state": "READY" if ready else "UNAVAILABLE", "reason": ""}
            for name in self._shelf.names()
            for number in self._shelf.versions(name)
            if (ready := self._shelf.is_loaded(name, number)) or not only_ready
        ]
        return _answer(frame.id, to_json(rows))

    def _infer(self, frame: Frame) -> Waiting:
        loaded = self._model(frame)
        form, inputs = inference_protocol.parse(frame.body, frame.head.get("json_bytes"), loaded.signature)
        timeout_us = form.parameters.get("timeout")
        if isinstance(timeout_us, int) and 0 < timeout_us < 1e6 * (self._clock() - frame.at_s):
            raise Refused(504, "the timeout was over before its turn came")

        def finish(scores: Scores) -> Body:
            return inference_protocol.answer(form, loaded.name, loaded.version, loaded.signature, scores)

        return _waiting(frame, loaded, loaded.signature.raw(inputs), finish)

    def _invocations(self, frame: Frame) -> Waiting:
        loaded = self._only_model()
        inputs = invocations.parse(frame.body, frame.head.get("media_type", ""), loaded.signature)

        return _waiting(frame, loaded, loaded.signature.raw(inputs), lambda scores: (invocations.answer(scores), None))

    def _model(self, frame: Frame) -> Loaded:
        version = frame.head.get("version")
        return self._shelf.get(frame.head["model"], int(version) if version else None)

    def _only_model(self) -> Loaded:
        """MLflow's paths name no model: there must be one alone."""
        names = self._shelf.names()
        if len(names) != 1:
            raise Refused(409 if names else 404, f"there are {len(names)} models, and /invocations names none")
        return self._shelf.get(names[0])


SERVER = {"name": "singlepoint", "version": "2", "extensions": ["binary_tensor_data", "model_repository"]}


def _batches(group: Sequence[Waiting]) -> Iterator[Sequence[Waiting]]:
    """Cut so that none has more than BATCH_ROWS, unless a single request does."""
    begin = 0
    while begin < len(group):
        end, rows = begin + 1, group[begin].rows
        while end < len(group) and rows + group[end].rows <= BATCH_ROWS:
            rows += group[end].rows
            end += 1
        yield group[begin:end]
        begin = end


def _waiting(frame: Frame, loaded: Loaded, raw: Raw, finish: Callable[[Scores], Body]) -> Waiting:
    rows = row_count(raw)
    if rows == 0:
        raise Refused(422, "there are no rows")
    if rows > MOST_ROWS:
        raise Refused(413, f"a request may have {MOST_ROWS} rows")
    return Waiting(frame.id, loaded, raw, rows, finish, (id(loaded), getattr(raw, "dtype", None)))


def _alone(one: Waiting, began_s: float) -> bytes:
    try:
        return _finished(one, one.loaded.predictor.predict_quietly(one.raw), one.rows, began_s)
    except InvalidInput as error:
        return _refusal(one.id, Refused(422, error.without_data))
    except Exception as error:  # noqa: BLE001 - told and logged as a defect
        return _defect(one.id, error)


def _finished(one: Waiting, scores: Scores, batch_rows: int, began_s: float) -> bytes:
    """The answer of one, with what the page counts: its model and rows, with how many it was computed, and when."""
    try:
        body, json_bytes = one.finish(scores)
    except Refused as refused:
        return _refusal(one.id, refused)
    except Exception as error:  # noqa: BLE001 - told and logged as a defect
        return _defect(one.id, error)
    return framed(one.id, _told(one.loaded.name, one.rows, batch_rows, json_bytes), body, began_s)


@lru_cache(maxsize=1024)
def _told(model: str, rows: int, batch_rows: int, json_bytes: int | None) -> bytes:
    told = {"status": 200, "model": model, "rows": rows, "batch_rows": batch_rows}
    return head_bytes(told if json_bytes is None else told | {"json_bytes": json_bytes})


OK = head_bytes({"status": 200})


def _answer(identity: int, body: bytes) -> bytes:
    return framed(identity, OK, body)


def _refusal(identity: int, refused: Refused) -> bytes:
    return framed(identity, head_bytes({"status": refused.status, "error": refused.message}))


def _defect(identity: int, error: Exception) -> bytes:
    log.error("defect id=%d", identity, exc_info=error)
    return _refusal(identity, Refused(500, "a defect of singlepoint"))
