"""What can go wrong, whose fault it is, and what to do about it.

    SinglepointError            any error of ours; the docstring is the default message
    ├── UsageError          64  the command was called wrongly
    ├── InvalidInput        65  spec, data, columns or model; carries every problem found
    │   ├── NeverFits       65  asks for more than the whole budget
    │   └── HistoryDamaged  65  a job's history or spec cannot be read
    ├── NotFound            66  no such job, model or file
    ├── BrokerAway          69  Redis cannot be reached, or nothing is running
    │   └── BrokerRefuses   69  Redis answers, but takes nothing: it is full, read-only, has too few replicas
    ├── NotNow              75  impossible in this state, or refused for the moment
    │   ├── ImpossibleMove  75  the life cycle has no such move
    │   ├── Superseded      75  an attempt that is not the newest tried to write
    │   ├── HistoryBusy     75  a job's history is locked by a process that does not let go of it
    │   └── StorageFull     75  the disk is full
    └── NotPermitted        77  home directory not writable, or owned by somebody else

`exit_code` is what the command ends with; `hint` says what the user can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_OK = 0
EXIT_JOB_FAILED = 1
EXIT_USAGE = 64
EXIT_INVALID = 65
EXIT_NOT_FOUND = 66
EXIT_BROKER_AWAY = 69
EXIT_NOT_NOW = 75
EXIT_NOT_PERMITTED = 77
EXIT_TIMED_OUT = 124
EXIT_CANCELLED = 130


class SinglepointError(Exception):
    """Something went wrong."""

    exit_code = EXIT_JOB_FAILED

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.hint = hint
        super().__init__(self.message)

    @property
    def without_data(self) -> str:
        """The message as it may be kept in a log or a history: no values of the user's data."""
        return self.message


class UsageError(SinglepointError):
    """The command was called wrongly."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what was asked.

    field: where, as a path (`training.epochs`, `model.layers[2].kernel`, `data.path`).
    message: what is wrong, with the value.  hint: the remedy, or "".
    cell: the value in the data that is to blame, if one is. Shown to whoever asks, never kept in a log or history.
    """

    field: str
    message: str
    hint: str = ""
    cell: str = ""

    def __str__(self) -> str:
        return f"{self.field}: " + (f"'{self.cell[:40]}' " if self.cell else "") + self._rest

    @property
    def without_data(self) -> str:
        return f"{self.field}: {self._rest}"

    @property
    def _rest(self) -> str:
        return self.message + (f" ({self.hint})" if self.hint else "")


class InvalidInput(SinglepointError):
    """What was asked cannot be done as it stands."""

    exit_code = EXIT_INVALID

    def __init__(self, problems: Sequence[Problem] | Problem, *, hint: str | None = None) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems) or None, hint=hint)

    @property
    def without_data(self) -> str:
        return "\n".join(problem.without_data for problem in self.problems) or self.message


class NeverFits(InvalidInput):
    """The job asks for more than the whole budget."""


class HistoryDamaged(InvalidInput):
    """A job's history, or its spec, cannot be read."""


class NotFound(SinglepointError):
    """There is no such thing."""

    exit_code = EXIT_NOT_FOUND


class BrokerAway(SinglepointError):
    """Redis cannot be reached."""

    exit_code = EXIT_BROKER_AWAY


class BrokerRefuses(BrokerAway):
    """Redis refuses to be written to."""


class NotNow(SinglepointError):
    """Not possible at the moment."""

    exit_code = EXIT_NOT_NOW


class ImpossibleMove(NotNow):
    """The life cycle has no such move."""


class Superseded(NotNow):
    """A newer attempt of this job exists, so this one may not write."""


class HistoryBusy(NotNow):
    """The history of the job is locked by a process that does not let go of it."""


class StorageFull(NotNow):
    """The disk is full."""


class NotPermitted(SinglepointError):
    """Not allowed."""

    exit_code = EXIT_NOT_PERMITTED
