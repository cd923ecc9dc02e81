"""Any command: what may be asked, and which part of an environment goes with it. Pure.

The values of `env` are secrets: they are masked wherever the spec is shown or stored, and kept in a file of the job's
that only its owner may read (`environment`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from singlepoint.jobs.errors import Problem

from .base import FilePath
from .common import JobSpec, Kind, always_a_path

RESTART_EXIT_CODE = 85

ALLOWED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    }
)
"""Variables of whoever submits that a command finds too, besides `LC_...`: what decides which programs are run and how
they speak. Never the rest, in which secrets are."""

OURS = "SINGLEPOINT_"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _without_nul(word: str) -> str:
    if "\0" in word:
        raise ValueError("must not hold a NUL character")
    return word


Word = Annotated[str, AfterValidator(_without_nul)]


class RunSpec(JobSpec):
    """Run a command, as its owner wrote it.

    command: the program and its arguments; one text instead of a list is a line for /bin/sh.  cwd: where it runs.
    env: variables it finds besides `ALLOWED` and our own.  inputs: files it reads, digested at the first attempt, and
    the same at every later one.  output: where what it writes to its output directory ends up; None: in the home.
    progress: where it tells how far it is: in its progress file, or as `name=value` on its standard output.
    restart_exit_codes: by which it says that it saved and wants to be run again.
    """

    kind: Literal["run"] = "run"
    command: Annotated[tuple[Word, ...], Field(min_length=1)] | Annotated[Word, Field(min_length=1)]
    cwd: FilePath = "."
    env: Mapping[str, SecretStr] = {}
    inputs: tuple[FilePath, ...] = ()
    output: FilePath | None = None
    progress: Literal["file", "stdout"] = "file"
    restart_exit_codes: tuple[Annotated[int, Field(strict=True, ge=1, le=255)], ...] = (RESTART_EXIT_CODE,)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The argument vector that is run."""
        return ("/bin/sh", "-c", self.command) if isinstance(self.command, str) else self.command


def environment(spec: RunSpec, submitter: Mapping[str, str]) -> dict[str, str]:
    """What the command finds besides our own variables: of the submitter's those that are allowed, and those given."""
    allowed = {name: value for name, value in submitter.items() if name in ALLOWED or name.startswith("LC_")}
    return allowed | {name: value.get_secret_value() for name, value in spec.env.items()}


def _variables(env: Mapping[str, SecretStr]) -> Iterator[Problem]:
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name):
            yield Problem("env", f"{name!r} is no name of a variable", "letters, digits and _, not a digit first")
        elif name.startswith(OURS):
            yield Problem("env", f"{name} is one of singlepoint's own", "choose another name")
        if "\0" in value.get_secret_value():
            yield Problem(f"env.{name}", "must not hold a NUL character")


def _program(command: tuple[str, ...] | str) -> Iterator[Problem]:
    if not (command if isinstance(command, str) else command[0]).strip():
        yield Problem("command", "begins with nothing: there is no program to run")


RUN = Kind(
    spec=RunSpec,
    checks=((("env",), _variables), (("command",), _program)),
    paths={("cwd",): always_a_path, ("inputs",): always_a_path, ("output",): always_a_path},
    outputs=lambda spec: (spec.output,) if spec.output else (),
    decisive=lambda spec: [spec["command"], spec["cwd"]],
    environment=environment,
)
