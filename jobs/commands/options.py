"""What the commands share in how they are called: options, kinds of values, examples, several jobs at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import click

from singlepoint.jobs.amounts import parse_length_s
from singlepoint.jobs.client.find import find_job
from singlepoint.jobs.client.listing import STATUSES, Wanted, ids_of
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.errors import SinglepointError, UsageError
from singlepoint.jobs.store.home import Home, default_path
from singlepoint.jobs.store.job_store import JobStore

from .text import complaint

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document (schema 1).")


NEWEST = 100
"""Jobs of which a shell is told; the words for older ones have to be typed."""


def complete_job(ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """`last`, and the ids and names of the newest jobs that begin so, for a shell. Read from the directories alone."""
    asked = ctx.find_root().params
    home = Home(Path(asked.get("home") or default_path()))
    if asked.get("server") or not home.jobs.is_dir():
        return []
    store = JobStore(home)
    newest = [job_id for _, job_id in store.latest(NEWEST)]
    words = ["last", *newest, *(str(store.began(job_id).get("name", "")) for job_id in newest)]
    return [word for word in dict.fromkeys(words) if word and word.startswith(begun)]


job_argument = click.argument("job", metavar="ID", shell_complete=complete_job)
jobs_argument = click.argument("jobs", metavar="ID...", nargs=-1, required=True, shell_complete=complete_job)


def length_s(text: str) -> float:
    """Seconds in `90`, `10m`, `2h`, `30d`; a click type."""
    try:
        return parse_length_s(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def each(words: Sequence[str], act: Callable[[str], None], *, at_once: int = 1) -> None:
    """Do the same for several jobs; a failure does not stop the others, the first one's code is the command's.

    at_once: how many to have in hand; more than one where each waits for the disk.
    """
    if len(words) == 1:
        act(words[0])
        return

    def tried(word: str) -> int:
        try:
            act(word)
        except SinglepointError as error:
            click.echo(complaint(error), err=True)
            return error.exit_code
        return 0

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(at_once) as pool:
        codes = list(pool.map(tried, words))
    if code := next(filter(None, codes), 0):
        raise click.exceptions.Exit(code)


class ListsFiles(click.Command):
    """A command whose `--input` takes several files, by itself (as a shell's pattern gives them) or again and again."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _repeated(args))


def _repeated(args: Sequence[str]) -> list[str]:
    """`--input a b` as `--input a --input b`, up to the next option, or to what could be a spec (.toml, .json)."""
    words: list[str] = []
    is_value = is_further = False
    for word in args:
        is_further = is_further and not word.startswith("-") and not word.endswith((".toml", ".json"))
        words += ["--input", word] if is_further else [word]
        is_further = is_further or is_value or word.startswith("--input=")
        is_value = word == "--input" and not is_value
    return words


class Jobs(Protocol):
    """Where jobs are looked for: in a home, or on a server."""

    def find(self, word: str) -> str:
        """The id of the one that a word means. Raises NotFound."""

    def matching(self, *wanted: Wanted) -> list[str]:
        """The ids of those that all of these take, oldest first."""


@dataclass(frozen=True)
class JobsHere:
    """Those of a home."""

    session: Session

    def find(self, word: str) -> str:
        """See `Jobs`."""
        return find_job(self.session.store, word)

    def matching(self, *wanted: Wanted) -> list[str]:
        """See `Jobs`."""
        return ids_of(self.session, *wanted)


@dataclass(frozen=True)
class Which:
    """The jobs that a command is to do something with: words for single ones, or all of some."""

    words: tuple[str, ...]
    name: str | None
    statuses: frozenset[str]
    everything: bool
    dry_run: bool

    def ids(self, jobs: Jobs, among: frozenset[str]) -> list[str]:
        """Raises UsageError unless it says which; NotFound for a word that means none.

        among: the statuses that the command can do something with, where not single jobs were named.
        """
        by_filter = bool(self.name is not None or self.statuses or self.everything)
        if by_filter == bool(self.words):
            what = "give IDs, or --name, --status or --all; not both" if self.words else "say which jobs"
            raise UsageError(what, hint="ID…, --name GLOB, --status S, or --all")
        if self.words:
            return list(self.words)
        return jobs.matching(Wanted(statuses=among), Wanted(True, self.statuses, self.name))

    def each(self, jobs: Jobs, among: frozenset[str], act: Callable[[str], None], *, at_once: int = 1) -> None:
        """Do it, job by job. act: is given a job's id."""
        words = self.ids(jobs, among)
        if not words:
            click.echo("no such job", err=True)
        elif self.dry_run:
            click.echo("\n".join(jobs.find(word) for word in words))
        elif self.words:
            each(words, lambda word: act(jobs.find(word)))
        else:
            each(words, act, at_once=at_once)


def which_jobs(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the arguments and options that make a `Which`, passed as `which`."""

    @click.argument("jobs", metavar="[ID]...", nargs=-1, shell_complete=complete_job)
    @click.option("--name", metavar="GLOB", help="All of such a name, for example 'wdbc-*'.")
    @status_option
    @click.option("--all", "everything", is_flag=True, help="All that this can be done with.")
    @click.option("--dry-run", is_flag=True, help="Print the ids, do nothing.")
    @functools.wraps(command)
    def with_which(
        *arguments: Any,
        jobs: tuple[str, ...],
        name: str | None,
        status: tuple[str, ...],
        everything: bool,
        dry_run: bool,
        **options: Any,
    ) -> None:
        command(*arguments, which=Which(jobs, name, statuses(status), everything, dry_run), **options)

    return with_which


status_option = click.option(
    "--status", multiple=True, metavar="S", help=f"Those that are {', '.join(STATUSES[:-1])} or {STATUSES[-1]}."
)


def statuses(words: Sequence[str]) -> frozenset[str]:
    """`--status failed,cancelled` and `--status failed --status cancelled` are the same."""
    return frozenset(word.strip() for text in words for word in text.split(","))
