"""What the commands share in how they are called: options, kinds of values, examples, several ids at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import click

from singlepoint.jobs.errors import SinglepointError

from .text import complaint

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document (schema 1).")
job_argument = click.argument("job", metavar="ID")
jobs_argument = click.argument("jobs", metavar="ID...", nargs=-1, required=True)

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def length_s(text: str) -> float:
    """Seconds in `90`, `10m`, `2h`, `30d`; a click type."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is no length of time; write it like 90, 10m, 2h or 30d")
    return float(match[1]) * _SECONDS[match[2]]


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def each(words: Sequence[str], act: Callable[[str], None]) -> None:
    """Do the same for several jobs; a failure does not stop the others, the first one's code is the command's."""
    if len(words) == 1:
        act(words[0])
        return
    code = 0
    for word in words:
        try:
            act(word)
        except SinglepointError as error:
            click.echo(complaint(error), err=True)
            code = code or error.exit_code
    if code:
        raise click.exceptions.Exit(code)
