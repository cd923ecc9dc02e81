"""Where a job that came by HTTP may read and write: below the home's uploads, models and outputs, and the roots that
the owner set. Symbolic links count as what they lead to, and nothing is told of what lies elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from singlepoint.jobs.errors import InvalidInput, Problem
from singlepoint.jobs.spec.job import Spec, is_model_name, outputs, paths
from singlepoint.jobs.store.home import Home


def permitted(spec: Spec, home: Home, roots: Iterable[str]) -> Spec:
    """The spec itself. Raises InvalidInput with every field that leads elsewhere."""
    allowed = tuple(Path(root) for root in roots)
    written = outputs(spec)
    problems = [
        Problem(field, "lies where nobody may point by HTTP", _REMEDY)
        for field, path in files(spec).items()
        if not is_below(path, (home.outputs, *allowed) if path in written else (home.uploads, home.models, *allowed))
    ]
    if problems:
        raise InvalidInput(problems)
    return spec


_REMEDY = "upload it, or have the owner add its directory to [http] roots in settings.toml"


def files(spec: Spec) -> Mapping[str, str]:
    """What a spec says of files, by field; a model that is a name is none."""
    return {field: path for field, path in paths(spec).items() if path.startswith("/") or not is_model_name(path)}


def is_below(path: str, roots: Iterable[Path]) -> bool:
    """Whether a path leads to something below one of these directories, all links followed."""
    real = os.path.realpath(path)
    return any(Path(real).is_relative_to(os.path.realpath(root)) for root in roots)
