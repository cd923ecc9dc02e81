"""The budget that somebody chose while the home was running, by `singlepoint budget cpu=2`.

The truth is a file in the home, so it outlives every process, until it is taken back. What the words mean on this
machine is the scheduler's to say, which looks at the file once a second.
"""

from __future__ import annotations

from pathlib import Path

from singlepoint.jobs.store.durable import explained, replace_file, sync_directory
from singlepoint.jobs.store.home import Home

_MOST_BYTES = 4096


def choose_budget(home: Home, words: str) -> None:
    """From now on, `cpu=2,memory=4GiB` instead of what holds otherwise. Raises StorageFull, NotPermitted."""
    replace_file(home.budget, words.encode(), point="budget")


def drop_choice(home: Home) -> bool:
    """Back to what holds otherwise; False when nothing was chosen."""
    with explained(home.budget):
        try:
            home.budget.unlink()
        except FileNotFoundError:
            return False
        sync_directory(home.path)
    return True


def chosen_budget(home: Home) -> str:
    """What was chosen; `""` for nothing."""
    return read_words(home.budget)


def read_words(path: Path) -> str:
    """A small file of words; `""` where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_BYTES).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
