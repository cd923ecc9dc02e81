"""A home whose path is short enough for a socket of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest

from singlepoint.jobs.store.home import Home, open_home


@pytest.fixture
def short_home() -> Iterator[Home]:
    home = open_home(tempfile.mkdtemp(prefix="sp-"))
    yield home
    shutil.rmtree(home.path, ignore_errors=True)
