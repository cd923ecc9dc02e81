"""One name when installed: the folders of this repository become `singlepoint.jobs`, `.scheduler` and `.worker`.

A wheel maps them; an editable install puts a folder of links on the path, so that the checkout is what runs, under
the same names, and an editor and a type checker find the sources. Nothing else enters the environment.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INSTALLED_AS = {
    "singlepoint.py": "singlepoint/__init__.py",
    "__main__.py": "singlepoint/__main__.py",
    "jobs": "singlepoint/jobs",
    "scheduler": "singlepoint/scheduler",
    "worker": "singlepoint/worker",
}

LINKS = "build/links"
"""On the path of an editable install; see `dev-mode-dirs` in pyproject.toml."""


class OneName(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling calls `initialize` before it builds a wheel (version `standard`) or an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            lay_links(Path(self.root))
        else:
            build_data["force_include"].update(INSTALLED_AS)


def lay_links(root: Path) -> None:
    """Relative links, laid anew, so that a checkout that is moved stays whole."""
    package = root / LINKS / "singlepoint"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for source, name in INSTALLED_AS.items():
        (root / LINKS / name).symlink_to(Path("../../..") / source)
