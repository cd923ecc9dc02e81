"""The front door: what it loads, how it leads on, and how it ends."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
import redis

import singlepoint
from singlepoint.jobs.client.session import Settings
from singlepoint.jobs.errors import (
    EXIT_BROKER_AWAY,
    EXIT_CANCELLED,
    EXIT_INVALID,
    EXIT_NOT_FOUND,
    EXIT_NOT_NOW,
    EXIT_NOT_PERMITTED,
    EXIT_OK,
    EXIT_USAGE,
    NotNow,
)
from singlepoint.jobs.store.job_store import JobStore
from tests.conftest import accept

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "numpy",
    "rq",
    "redis",
    "pydantic",
    "singlepoint.jobs.store.job_store",
    "singlepoint.worker",
    "singlepoint.scheduler",
)


def loaded_after(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(eval(done.stdout.splitlines()[-1]))  # noqa: S307 - a list of words that we printed ourselves


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"]])
def test_help_loads_nothing_that_takes_time(arguments: list[str]) -> None:
    assert loaded_after(f"import singlepoint\nsinglepoint.main({arguments!r})") == set()


def test_importing_the_python_names_loads_the_core_only_for_the_model() -> None:
    assert loaded_after("from singlepoint import submit") == set()
    assert "numpy" in loaded_after("from singlepoint import Model")


@pytest.mark.parametrize("check", ["_check_within_limits", "_check_apart"])
def test_to_hand_in_a_command_takes_no_numpy(check: str) -> None:
    asked = "singlepoint._parsed({'kind': 'run', 'command': ['true']})"
    assert "numpy" not in loaded_after(f"import singlepoint\nsinglepoint.{check}({asked})")


@pytest.mark.parametrize("name", singlepoint.WHERE)
def test_every_command_of_the_table_is_there_and_ends_its_help_with_two_examples(name: str) -> None:
    module, _, attribute = singlepoint.WHERE[name].partition(":")
    command = getattr(importlib.import_module(module), attribute)

    assert isinstance(command, click.Command) and command.name == name
    assert command.hidden or isinstance(command, click.Group) or (command.epilog or "").count("singlepoint ") >= 2


def test_help_lists_every_command_that_is_not_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    assert singlepoint.main(["--help"]) == EXIT_OK

    out = capsys.readouterr().out
    listed = {name for section, commands in singlepoint.COMMANDS.items() if section for name in commands}
    assert [name for name in listed if f"  {name} " not in out] == []
    assert "broker" not in out.replace("a broken broker", "")


def completed(*words: str, **environment: str) -> list[str]:
    """What bash is told may stand in the place of the last word."""
    asked = {"_SINGLEPOINT_COMPLETE": "bash_complete", "COMP_CWORD": str(len(words)), **environment}
    asked["COMP_WORDS"] = " ".join(("singlepoint", *words))
    command = [sys.executable, "-m", "singlepoint"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_a_shell_completes_commands_options_and_jobs(store: JobStore) -> None:
    home = str(store.home.path)
    job = accept(store, name="lastingly")
    assert completed("ex") == ["explain"]
    assert completed("submit", "tr") == ["train"]
    assert completed("submit", "train", "--st") == ["--storage"]
    assert completed("nonsense", "x") == []
    assert completed("--home", home, "show", "last") == ["last", "lastingly"]
    assert completed("eta", "", SINGLEPOINT_HOME=home) == ["last", job.id, "lastingly"]
    assert completed("eta", "", SINGLEPOINT_HOME=f"{home}/none") == [] and not Path(home, "none").exists()
    assert completed("mod", SINGLEPOINT_SERVER="http://127.0.0.1:1") == [], "is done on the machine itself"


def test_what_a_shell_completes_first_loads_nothing_that_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SINGLEPOINT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "singlepoint ")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert loaded_after("import singlepoint\ntry: singlepoint.main([])\nexcept SystemExit: pass") == set()


def test_each_shell_has_a_script_that_asks_this_command(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert singlepoint.main(["completion", shell]) == EXIT_OK
        assert f"_SINGLEPOINT_COMPLETE={shell}_complete" in capsys.readouterr().out
    assert singlepoint.main(["completion", "csh"]) == EXIT_USAGE


def test_an_unknown_command_is_met_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert singlepoint.main(["sumbit", "train", "x.toml"]) == EXIT_USAGE
    assert "did you mean 'submit'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["ps", "--home", "h"], ["--home", "h", "ps"]),
        (["ps", "--home=h", "-a"], ["--home=h", "ps", "-a"]),
        (["--redis-url", "u", "ps", "--home", "h"], ["--redis-url", "u", "--home", "h", "ps"]),
        (["priority", "x", "--", "--home"], ["priority", "x", "--", "--home"]),
        (["ps", "--home"], ["--home", "ps"]),
    ],
)
def test_global_options_may_stand_behind_the_command(given: list[str], meant: list[str]) -> None:
    assert singlepoint.hoisted(given) == meant


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    @click.command()
    @click.pass_obj
    def probe(settings: Settings) -> None:
        seen.append(settings)

    monkeypatch.setattr(singlepoint.FrontDoor, "get_command", lambda *_arguments: probe)
    monkeypatch.setenv("SINGLEPOINT_HOME", "/from/environment")
    monkeypatch.setenv("SINGLEPOINT_REDIS_URL", "redis://environment")
    singlepoint.main(["ps"])
    singlepoint.main(["ps", "--home", "/from/option", "--redis-url", "redis://option"])

    assert [(str(one.home_path), one.redis_url) for one in seen] == [
        ("/from/environment", "redis://environment"),
        ("/from/option", "redis://option"),
    ]


@pytest.mark.parametrize(
    ("error", "code", "piece"),
    [
        (KeyboardInterrupt(), EXIT_CANCELLED, ""),
        (RuntimeError("odd"), singlepoint.EXIT_DEFECT, "SINGLEPOINT_DEBUG=1"),
        (NotNow("impossible", hint="try later"), EXIT_NOT_NOW, "singlepoint: impossible\n  hint: try later"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "ooo"), EXIT_INVALID, "File name too long: ooo"),
        (OSError(errno.EACCES, "Permission denied", "f"), EXIT_NOT_PERMITTED, "Permission denied: f\n  hint"),
        (OSError(errno.EMFILE, "Too many open files"), EXIT_NOT_NOW, "Too many open files\n  hint"),
        (OSError(errno.ENOSPC, "No space left on device"), EXIT_NOT_NOW, "No space left"),
        (redis.ConnectionError("lost"), EXIT_BROKER_AWAY, "Redis does not answer: lost"),
    ],
)
def test_no_end_of_a_command_shows_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], error: BaseException, code: int, piece: str
) -> None:
    def broken(*_arguments: object) -> click.Command:
        raise error

    monkeypatch.setattr(singlepoint.FrontDoor, "get_command", broken)

    assert singlepoint.main(["ps"]) == code
    err = capfd.readouterr().err
    assert piece in err and "Traceback" not in err


def test_an_interrupt_while_a_command_still_loads_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    root = Path(singlepoint.__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "singlepoint", "ps"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(root)))},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_CANCELLED, "", "")


def test_an_empty_home_is_refused_and_the_current_directory_is_not_made_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert singlepoint.main(["ps", "--home", ""]) == EXIT_USAGE
    assert "--home" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_early_is_no_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    words = [sys.executable, "-m", "singlepoint", "ps", "--help"]
    done = subprocess.run(words, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)

    assert (done.returncode, done.stderr) == (EXIT_OK, b"")


def test_the_traceback_is_there_for_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> click.Command:
        raise RuntimeError("odd")

    monkeypatch.setattr(singlepoint.FrontDoor, "get_command", broken)
    monkeypatch.setenv("SINGLEPOINT_DEBUG", "1")

    with pytest.raises(RuntimeError, match="odd"):
        singlepoint.main(["ps"])


def test_errors_caught_by_the_folders_own_name_are_those_that_are_raised() -> None:
    program = "from jobs.errors import NotFound as a; from singlepoint.jobs.errors import NotFound as b; assert a is b"
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True, timeout=60)


def test_the_doctor_calls_a_budget_broken_that_this_machine_will_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code, said in (("cpu=1", 0, "ok"), ("cpu=9999", 1, "cpu=9999, but"), ("memory=1MiB", 1, "memory=1MiB")):
        (tmp_path / "settings.toml").write_text(f'[budget.times]\nnights = "{words}"\n')
        assert singlepoint.main(["--home", str(tmp_path), "doctor", "--only", "settings"]) == code
        told = capsys.readouterr().out
        assert said in told and "budget.times.nights" in told


@pytest.mark.parametrize("words", [["run", "--", "true"], ["predict", "--model", "m", "--input", "a.csv"]])
def test_called_in_a_directory_that_was_deleted_it_says_so(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    try:
        assert singlepoint.main(["--home", str(tmp_path / "home"), "submit", *words]) == EXIT_NOT_FOUND
    finally:
        os.chdir(tmp_path)
    assert "has been deleted" in capsys.readouterr().err


def test_the_root_of_all_directories_is_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--home", str(tmp_path), "submit", "run", "--output", "/", "--", "true"]
    assert singlepoint.main(words) in (EXIT_INVALID, EXIT_NOT_PERMITTED)
    assert "output: /" in capsys.readouterr().err
