"""A terminal is never sent what it would obey, whoever writes."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

import singlepoint
from singlepoint.jobs.commands.terminal import guarded_output, harmless, spelled_out

EVIL = "\x1b]0;title\x07 \x1b[2J\x1b[8m \x9b31m \r \x00 \x7f \u202e \ud800 \x1b[31mred\x1b[0m"


def test_control_characters_are_spelled_out_and_our_own_colours_kept() -> None:
    shown = harmless(EVIL)
    assert "\\x1b]0;title\\x07" in shown and "\\u202e" in shown and "\\ud800" in shown
    assert not set(shown.replace("\x1b[31m", "").replace("\x1b[0m", "")) & set("\x1b\x07\x9b\r\x00\x7f\u202e\ud800")
    assert "\x1b" not in spelled_out(EVIL)
    assert harmless("a\tb\n") == "a\tb\n" and harmless("größe – 100 %") == "größe – 100 %"
    assert harmless(click.style("failed", fg="red")) == click.style("failed", fg="red")


def test_all_that_is_written_is_guarded_however_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded_output():
        click.echo("a\x9b2Jb")
        click.echo("c\x07", err=True)
        print("d\x1b]")
        sys.stderr.writelines(["e\x9b\n"])
    assert capsys.readouterr() == ("a\\x9b2Jb\nd\\x1b]\n", "c\\x07\ne\\x9b\n")


def test_an_error_that_names_what_a_stranger_chose_reaches_the_terminal_as_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = singlepoint.main(["--home", str(tmp_path / "home"), "submit", "train", "\x1b]0;x\x07.toml"])
    said = capsys.readouterr().err
    assert code == 66 and "\\x1b]0;x\\x07.toml" in said and "\x1b" not in said
