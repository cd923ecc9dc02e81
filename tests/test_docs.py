"""What README and docs say is what the code does."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

import singlepoint
from singlepoint.jobs.lifecycle import states
from singlepoint.jobs.lifecycle.history import Note
from singlepoint.jobs.spec import job, network
from singlepoint.jobs.spec.base import Part
from singlepoint.jobs.spec.fields import parts, tag

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")]
README = (ROOT / "README.md").read_text()
SPEC = (ROOT / "docs" / "spec.md").read_text()


# --- the README ------------------------------------------------------------------------------------------


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def commands() -> Iterator[str]:
    """Every singlepoint command line of the README, without prompt, comment and pipe."""
    for line in "\n".join([*blocks("sh"), *blocks("console")]).splitlines():
        match = re.match(r"(?:\$ |docker compose exec scheduler )?(singlepoint [^#|]*[^#| ])", line)
        if match and not line.startswith(("singlepoint:", "singlepoint is")):
            yield match[1]


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_of_the_readme_has_the_options_it_is_given(line: str) -> None:
    command, context, words = singlepoint.front_door, None, shlex.split(line)[1:]
    while hasattr(command, "get_command"):
        context = command.make_context(words[0] if words else "", words, parent=context, resilient_parsing=True)
        name, found, words = command.resolve_command(context, words)
        assert found is not None, name
        command = found

    command.make_context(line, words, parent=context)  # raises when an option or an argument is wrong


def test_the_life_cycle_in_the_readme_is_the_one_in_the_code() -> None:
    assert states.diagram() + "\n" in blocks("text")


def test_the_first_job_of_the_readme_passes_every_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINGLEPOINT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    (tmp_path / "wdbc.toml").write_text(blocks("toml")[0])

    result = CliRunner().invoke(singlepoint.front_door, ["submit", "train", "wdbc.toml", "--dry-run"])

    assert result.exit_code == 0, result.output
    assert "the spec is sound" in result.stderr


def test_the_misspelt_field_of_the_readme_gets_the_answer_that_is_shown(tmp_path: Path) -> None:
    (tmp_path / "wdbc.toml").write_text(blocks("toml")[0])
    [shown] = [block for block in blocks("console") if "epcohs" in block]
    line, answer = shown.strip().splitlines()

    done = subprocess.run(
        [sys.executable, ROOT / "singlepoint.py", *shlex.split(line)[2:]],
        cwd=tmp_path,
        env={**os.environ, "SINGLEPOINT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr.strip()) == (65, answer)


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = blocks("python")
    monkeypatch.chdir(tmp_path)

    exec(code.partition("\njob_id")[0], {})

    assert (tmp_path / "model.safetensors").exists()


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len(README.splitlines()) < 250


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        if "://" not in target:
            there = (page.parent / path) if path else page
            assert there.exists(), target
            assert not heading or heading in headings(there.read_text()), target


def headings(page: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


# --- the page on specs -----------------------------------------------------------------------------------

Default = Any
NEEDED = object()
SHARED = {  # what a letter in a row of options stands for; the page says so too
    "W": '`initialiser?`, `bias_initialiser = { type = "zeros" }`, `l1 = 0.0`, `l2 = 0.0`',
    "S": '`schedule = { type = "constant" }`',
}
SECTIONS = {
    "TrainSpec": ["## Every job"],
    "PredictSpec": ["## Every job", "## A prediction"],
    "RunSpec": ["## Every job", "## A command"],
    "ResourceSpec": ["### `[resources]`"],
    "DataSpec": ["### `[data]`"],
    "PreprocessingSpec": ["### `[preprocessing]`"],
    "ModelSpec": ["### `[model]`"],
    "TrainingSpec": ["### `[training]`"],
    "EarlyStopping": ["#### `[training.early_stopping]`"],
}


def records(annotation: Any) -> set[type[Part]]:
    """Every record that may stand anywhere below an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        inner = [records(field.annotation) for field in annotation.model_fields.values()]
        return {annotation}.union(*inner)
    return set[type[Part]]().union(*map(records, typing.get_args(annotation)))


ALL = sorted(records(job.Spec), key=lambda record: record.__name__)


def on_page(record: type[Part]) -> dict[str, Default]:
    """Field -> default, as the page has it: the rows of a section, or the options in the one row of a type."""
    rows = SPEC.splitlines()
    if (name := tag(record)) is not None:
        [row] = [row for row in rows if row.startswith(f'| `"{name}"` |')]
        return options(row.split("|")[2])
    begins = [rows.index(title) + 1 for title in SECTIONS[record.__name__]]
    sections = [itertools.takewhile(lambda row: not row.startswith("#"), rows[begin:]) for begin in begins]
    cells = [[cell.strip(" `") for cell in row.split(" | ")] for row in itertools.chain(*sections) if "| `" in row]
    return {cell[0].strip("| `"): value(cell[2]) for cell in cells if len(cell) == 4}


def options(cell: str) -> dict[str, Default]:
    for letter, meaning in SHARED.items():
        cell = re.sub(rf"\b{letter}\b(?=\s*$)", meaning, cell)
    parted = [option.partition(" = ") for option in re.findall(r"`([^`]*)`", cell)]
    needed = {True: "**needed**", False: "-"}
    return {name.rstrip("*?"): value(default or needed[name.endswith("*")]) for name, _, default in parted}


def value(cell: str) -> Default:
    if "needed" in cell:
        return NEEDED
    return None if cell in ("-", "") else tomllib.loads(f"value = {cell}")["value"]


def in_code(record: type[Part]) -> dict[str, Default]:
    return {name: NEEDED if field.is_required() else field.default for name, field in record.model_fields.items()}


@pytest.mark.parametrize("record", ALL, ids=lambda record: record.__name__)
def test_every_field_of_a_spec_is_on_its_page_with_its_default(record: type[Part]) -> None:
    in_words, real = on_page(record), in_code(record)
    told_elsewhere = {"type", "kind"} | {name for name, field in record.model_fields.items() if is_section(field)}
    if tag(record) in LAYERS:
        in_words["name"] = None  # said once for all layers

    assert in_words.keys() - told_elsewhere == real.keys() - told_elsewhere
    for name in real.keys() - told_elsewhere:
        as_read = in_words[name] if in_words[name] in (NEEDED, None) else read(record, name, in_words[name])
        assert as_read == real[name], name


LAYERS = {tag(layer) for layer in records(network.Layer)} - {tag(one) for one in records(network.Initialiser)}


def is_section(field: FieldInfo) -> bool:
    """Whether a field holds a record that has a table of its own."""
    held = parts(field.annotation)
    return bool(held) and all(tag(part) is None for part in held)


def read(record: type[Part], name: str, default: Default) -> Default:
    """A default of the page, read as if it stood in a spec."""
    field = record.model_fields[name]
    return TypeAdapter[Any](Annotated[(field.annotation, name, *field.metadata)]).validate_python(default)


def test_every_kind_of_line_in_a_history_is_on_the_page_of_files() -> None:
    page = (ROOT / "docs" / "files.md").read_text()

    assert {*states.Event, *Note} <= set(re.findall(r"`(\w+)`", page))
