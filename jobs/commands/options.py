"""What the commands share in how they are called: options, kinds of values, examples, several ids at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from singlepoint.jobs.amounts import parse_length_s
from singlepoint.jobs.errors import SinglepointError

from .text import complaint

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document (schema 1).")
job_argument = click.argument("job", metavar="ID")
jobs_argument = click.argument("jobs", metavar="ID...", nargs=-1, required=True)


def length_s(text: str) -> float:
    """Seconds in `90`, `10m`, `2h`, `30d`; a click type."""
    try:
        return parse_length_s(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


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
