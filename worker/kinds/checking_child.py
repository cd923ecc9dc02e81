"""Checks for a process that may neither be held up by them nor lose its memory to them, and whose main thread has other
work: the page, and a user's own Python. They are made in a child, within the limits that hold for a command
(`within_limits`).

The child begins with the first check and is kept for the next; it ends with its parent, or after a while without work.
One check at a time. Asked is a spec, and answered a document, each a line of JSON.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from functools import cache
from io import FileIO
from typing import Any

from singlepoint.jobs.errors import (
    InvalidInput,
    NeverFits,
    NotFound,
    NotNow,
    NotPermitted,
    Problem,
    SinglepointError,
    StorageFull,
)
from singlepoint.jobs.spec.common import Checked
from singlepoint.jobs.spec.job import Spec, from_json, to_json

from .table import RUNS_PROGRAMS, check
from .within_limits import CHECK_S, check_within_limits, unchecked

IDLE_S = 60.0
PATIENCE_S = 10.0
"""Beyond a check's own time: then the child stands still, or nothing can interrupt what it does."""


@cache
def raised() -> dict[str, type[SinglepointError]]:
    """What a check may raise, by name; anything else is a defect, ends the child, and is in its parent's log."""
    from singlepoint.worker.models.files import ModelFormatError  # here: whoever asks a child needs no numpy

    kinds = (InvalidInput, NeverFits, NotFound, NotNow, NotPermitted, StorageFull, ModelFormatError, SinglepointError)
    return {kind.__name__: kind for kind in kinds}


_PROGRAM = f"from {__name__} import serve; serve()"
_BLOCK_BYTES = 2**16


class CheckingChild:
    """The child of this process, or none yet. Safe to use from many threads; a fork of this process has its own."""

    def __init__(self, seconds: float = CHECK_S + PATIENCE_S) -> None:
        self._seconds = seconds
        self._one_at_a_time = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a fork: the child is our parent's, and so is whoever asks it just now."""
        self._one_at_a_time = threading.Lock()
        self._child = None

    def check(self, spec: Spec) -> Checked | None:
        """As `check_within_limits`, and raises what that raises."""
        if spec.kind in RUNS_PROGRAMS:  # nothing is read
            return check(spec)
        with self._one_at_a_time:
            answer = self._answer(spec)
        return unchecked(spec, answer) if isinstance(answer, str) else _found(answer)

    def close(self) -> None:
        """End the child, if there is one of ours."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        with contextlib.suppress(BrokenPipeError), child:  # closes its pipes, and waits
            pass

    def _answer(self, spec: Spec) -> dict[str, Any] | str:
        """The child's answer, or why there is none."""
        question = json.dumps(to_json(spec).decode()).encode() + b"\n"
        for _ in range(2):  # it may have ended in the instant in which it was asked
            child = self._there()
            assert child.stdin is not None and child.stdout is not None
            until_s = time.monotonic() + self._seconds
            try:
                _send(child.stdin.fileno(), question, until_s)
                answer: dict[str, Any] = json.loads(_line(child.stdout.fileno(), until_s))
            except (BrokenPipeError, EOFError):
                self.close()
            except TimeoutError:
                self.close()
                return "to look at the data takes longer than it may, and cannot be interrupted"
            except BaseException:  # its answer is still to come, and must not be given to the next who asks
                self.close()
                raise
            else:
                return answer
        return "to look at the data ends the process that does"

    def _there(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is not None:
            self.close()
        if self._child is None:
            words = [sys.executable, "-P", "-c", _PROGRAM]
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(words, bufsize=0, stdin=pipe, stdout=pipe, start_new_session=True)
            assert self._child.stdin is not None
            os.set_blocking(self._child.stdin.fileno(), False)
        return self._child


def serve() -> None:
    """The child: answer until there is nobody to answer, or nothing was asked for a while."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a reader prints must not be taken for an answer
    with contextlib.suppress(EOFError, TimeoutError, BrokenPipeError):
        _answer_next(answers)
        gc.collect()
        gc.freeze()  # what the first check loaded is no garbage, and would be gone through at each that follows
        while True:
            _answer_next(answers)


def _answer_next(answers: FileIO) -> None:
    asked = _line(sys.stdin.fileno(), time.monotonic() + IDLE_S)
    answers.write(json.dumps(_looked_at(json.loads(asked))).encode() + b"\n")


def _looked_at(asked: str) -> dict[str, Any]:
    try:
        checked = check_within_limits(from_json(asked.encode()))
    except SinglepointError as error:
        problems = [asdict(one) for one in error.problems] if isinstance(error, InvalidInput) else []
        return {"raised": _name_of(error), "message": error.message, "hint": error.hint, "problems": problems}
    except OSError as error:
        return {"raised": "OSError", "arguments": [error.errno, error.strerror, error.filename]}
    if checked is None:
        return {}
    found = {"summary": checked.summary, "warnings": checked.warnings, "reckoned_s": checked.reckoned_s}
    return {"spec": to_json(checked.spec).decode(), **found}


def _name_of(error: SinglepointError) -> str:
    return next(kind.__name__ for kind in type(error).__mro__ if raised().get(kind.__name__) is kind)


def _found(answer: dict[str, Any]) -> Checked | None:
    """The child's answer, or raises what it tells of."""
    match answer:
        case {"raised": "OSError", "arguments": arguments}:
            raise OSError(*arguments)
        case {"raised": name, "message": message, "hint": hint, "problems": problems}:
            kind = raised()[name]
            if issubclass(kind, InvalidInput):
                raise kind([Problem(**one) for one in problems], hint=hint)
            raise kind(message, hint=hint)
        case {"spec": spec, "summary": summary, "warnings": warnings, "reckoned_s": reckoned_s}:
            return Checked(from_json(spec.encode()), tuple(summary), tuple(warnings), reckoned_s)
    return None


def _send(descriptor: int, content: bytes, until_s: float) -> None:
    """Raises BrokenPipeError when whoever reads has ended, TimeoutError when it takes too long."""
    left = memoryview(content)
    while left:
        if not select.select([], [descriptor], [], max(0.0, until_s - time.monotonic()))[1]:
            raise TimeoutError
        left = left[os.write(descriptor, left) :]


def _line(descriptor: int, until_s: float) -> bytes:
    """The next line. Raises EOFError when whoever writes has ended, TimeoutError when it takes too long."""
    blocks: list[bytes] = []
    while not (blocks and blocks[-1].endswith(b"\n")):
        if not select.select([descriptor], [], [], max(0.0, until_s - time.monotonic()))[0]:
            raise TimeoutError
        blocks.append(os.read(descriptor, _BLOCK_BYTES))
        if not blocks[-1]:
            raise EOFError
    return b"".join(blocks)
