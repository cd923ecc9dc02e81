"""Who may know whom, read from the imports of every source file; nothing is imported to find out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FORBIDDEN = {
    "jobs": {"scheduler", "worker", "singlepoint", "numpy"},
    "scheduler": {"worker", "singlepoint"},
    "worker": {"scheduler", "singlepoint"},
    "worker/nn": {"rq", "redis", "jobs.broker", "jobs.queue", "jobs.index", "jobs.session"},
}
"""What a folder may never import, neither at the top of a file nor inside a function."""

RQ = {"jobs/queue.py", "worker/rq_worker.py"}
"""One file enqueues, one has the worker class."""

RQ_WORKERS = {"jobs/services.py", "worker/pool.py"}
"""These read rq's list of workers, and strike a dead one off it."""

IMPURE = {
    *("os", "io", "time", "datetime", "random", "secrets", "socket", "subprocess", "signal", "tempfile", "shutil"),
    *("pathlib.Path", "fcntl", "threading", "multiprocessing", "redis", "rq", "psutil", "click", "logging", "uuid"),
    "jobs.clock.now",
}
PURE = [
    *("jobs/lifecycle.py", "jobs/records.py", "jobs/retry.py", "jobs/spec", "jobs/interval.py"),
    *("scheduler/policy.py", "scheduler/world.py", "scheduler/reliability.py", "scheduler/utilisation.py"),
    "worker/nn",
]
ALLOWED = {
    "worker/nn/model_files.py": {"os", "io", "pathlib.Path"},  # the one file of the core that saves and loads models
    "worker/nn/model.py": {"pathlib.Path"},  # which `Model.save` and `Model.load` pass on to it
    "jobs/retry.py": {"signal"},  # the numbers only
}


def imports(source: str, package: str = "") -> Iterator[str]:
    """The full names a module imports anywhere; `package` is what a relative import starts from."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def offences(path: Path, forbidden: set[str], source: str | None = None) -> list[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    found = set(imports(source if source is not None else path.read_text(), package))
    return sorted(name for name in found if any(name == f or name.startswith(f + ".") for f in forbidden))


def files(place: str) -> list[Path]:
    path = ROOT / place
    return sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else []


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_imports_only_what_it_may_know(folder: str) -> None:
    found = {
        str(path.relative_to(ROOT)): names for path in files(folder) if (names := offences(path, FORBIDDEN[folder]))
    }

    assert found == {}


@pytest.mark.parametrize("place", PURE)
def test_a_pure_module_reads_no_clock_file_redis_or_environment(place: str) -> None:
    for path in files(place):
        name = str(path.relative_to(ROOT))
        assert offences(path, IMPURE - ALLOWED.get(name, set())) == [], name


def test_a_pure_module_of_jobs_imports_only_pure_ones() -> None:
    pure = {"jobs.lifecycle", "jobs.records", "jobs.errors", "jobs.clock", "jobs.amounts", "jobs.spec", "jobs.retry"}
    for path in (path for place in PURE if place.startswith("jobs") for path in files(place)):
        package = ".".join(path.relative_to(ROOT).parent.parts)
        ours = {name for name in imports(path.read_text(), package) if name.startswith("jobs.")}
        strangers = {name for name in ours if not any(name == p or name.startswith(p + ".") for p in pure)}
        assert strangers == set(), path.name


def test_rq_is_touched_in_as_few_files_as_possible() -> None:
    users = {
        str(path.relative_to(ROOT))
        for folder in ("jobs", "scheduler", "worker")
        for path in files(folder)
        if offences(path, {"rq"})
    }

    assert users - RQ_WORKERS <= RQ


def test_no_source_file_loads_a_pickle_or_imports_a_name_found_in_data() -> None:
    dangerous = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
    for folder in ("jobs", "scheduler", "worker"):
        for path in files(folder):
            assert offences(path, dangerous) == [], path


def test_the_check_itself_sees_every_way_of_importing() -> None:
    path = ROOT / "jobs" / "commands" / "x.py"
    ways = (
        "import scheduler",
        "from scheduler import policy",
        "import scheduler.policy as p",
        "from ...scheduler import x",
    )

    assert [bool(offences(path, {"scheduler"}, way)) for way in ways] == [True] * 4
    assert offences(path, {"scheduler"}, "from .scheduler import x\nimport schedulers") == []
    assert offences(path, {"scheduler"}, "def f():\n    import scheduler.loop") == ["scheduler.loop"]
