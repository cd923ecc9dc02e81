"""The page on commands says what the commands do."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import click
import pytest

import singlepoint
from singlepoint.jobs import errors
from singlepoint.jobs.lifecycle.history import fold, line
from singlepoint.jobs.lifecycle.records import Resources, Terms
from singlepoint.jobs.lifecycle.states import Event
from singlepoint.jobs.lifecycle.summary import attempt, detail, summary

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "commands.md").read_text()


@pytest.mark.parametrize(
    "name", [name for section in list(singlepoint.COMMANDS)[:-1] for name in singlepoint.COMMANDS[section]]
)
def test_every_command_is_on_the_page(name: str) -> None:
    assert re.search(rf"`singlepoint {name}\b", PAGE)


def options(command: click.Command) -> set[str]:
    inner = command.commands.values() if isinstance(command, click.Group) else [command]
    return {
        parameter.opts[0]
        for one in inner
        for parameter in one.params
        if isinstance(parameter, click.Option) and parameter.opts[0] not in ("--json", "--help")
    }


@pytest.mark.parametrize("name", singlepoint.COMMANDS["Jobs"])
def test_every_option_of_the_client_commands_is_on_the_page_and_no_other(name: str) -> None:
    module, _, attribute = singlepoint.WHERE[name].partition(":")
    rows = "\n".join(row for row in PAGE.splitlines() if row.startswith(f"| `singlepoint {name}"))
    told = set(re.findall(r"`(--?[a-z-]+)", rows)) - {"--json"}

    assert told == options(getattr(importlib.import_module(module), attribute))


def test_the_exit_codes_are_those_of_the_errors() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}

    assert told == {value for name, value in vars(errors).items() if name.startswith("EXIT_")}


def test_the_names_in_the_json_documents_are_those_that_are_told() -> None:
    history = line(Event.ACCEPT, 1.0, {"name": "a", "kind": "train", "requests": Resources().to_json()})
    history += line(Event.DISPATCH, 2.0, {"attempt": 1, "terms": Terms(Resources()).to_json()})
    job = fold("a2345678", history)
    of_job, of_detail, of_attempt = (block.split() for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL))

    assert set(of_job) == set(summary(job))
    assert set(of_job) | set(of_detail) == set(detail(job)) | {"history"}
    assert set(of_attempt) == set(attempt(job.attempts[0]))
