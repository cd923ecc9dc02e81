"""The policy that somebody chose for a home, by `up --policy` or `scheduler --policy`; also while it runs.

The truth is a file in the home, as for the budget. Which names there are is the scheduler's to say.
"""

from __future__ import annotations

from singlepoint.jobs.store.durable import replace_file
from singlepoint.jobs.store.home import Home

from .budget_choice import read_words


def choose_policy(home: Home, name: str) -> None:
    """From now on, this policy. Raises StorageFull, NotPermitted."""
    replace_file(home.policy, name.encode(), point="policy")


def chosen_policy(home: Home) -> str:
    """What was chosen; `""` for nothing."""
    return read_words(home.policy)
