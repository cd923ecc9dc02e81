"""The house as docs/design.md draws it, held against the imports of every source file: they are read, not run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("jobs", "scheduler", "worker")
KNOWS = {"jobs": {"jobs"}, "scheduler": {"scheduler", "jobs"}, "worker": {"worker", "jobs"}}
"""A package, and those it may import."""

MOST_FILES = 13
"""In a room, besides its __init__.py: more, and nobody finds anything at a glance."""

RQ = {"jobs/broker/rq_queues.py", "worker/pool/rq_worker.py"}
"""One file enqueues, one has the worker class."""

RQ_WORKERS = {"jobs/services/live.py", "worker/pool/pool.py"}
"""These read rq's list of workers, and strike a dead one off it."""

IMPURE = {
    *("os", "io", "time", "datetime", "random", "secrets", "socket", "subprocess", "signal", "tempfile", "shutil"),
    *("pathlib.Path", "fcntl", "threading", "multiprocessing", "redis", "rq", "psutil", "click", "logging", "uuid"),
    "singlepoint.jobs.clock.now",
}
FILE_READERS = {"jobs/spec/file.py"}
"""In pure rooms: the one reader of spec files."""

ALLOWED = {
    "jobs/lifecycle/retry.py": {"signal"},  # the numbers only
    **{name: {"os", "pathlib.Path"} for name in FILE_READERS},
}


@dataclass(frozen=True)
class Room:
    """One row of the design's tables: where it is (`worker/nn`), how far down, and whether it is pure."""

    place: str
    floor: int
    pure: bool


@cache
def rooms() -> tuple[Room, ...]:
    """Every room that docs/design.md draws."""
    found, package = [], ""
    for line in (ROOT / "docs" / "design.md").read_text().splitlines():
        if title := re.match(r"### (\w+):", line):
            package = title[1]
        elif row := re.match(r"\| (\d+) \| (.*?) \| (.*?) \|", line):
            names = re.findall(r"`([\w/]+)`", row[2])
            found += [Room(f"{package}/{name}", int(row[1]), row[3].strip() == "pure") for name in names]
    return tuple(found)


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("singlepoint", *parts)).removesuffix(".__init__")


@cache
def modules() -> Mapping[str, Path]:
    return {module_of(path): path for path in sources()}


def room_of(name: str) -> Room | None:
    """The room that a file (`worker/nn/random.py`) stands in; None for the __init__.py of a package."""
    return next((r for r in rooms() if name == f"{r.place}.py" or name.startswith(f"{r.place}/")), None)


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[str]:
    """The full names a module imports anywhere: at its top, inside a function, for type checkers only."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


@cache
def imported(path: Path) -> frozenset[str]:
    return frozenset(imports(path.read_text(), module_of(path), is_package=path.name == "__init__.py"))


def ours(path: Path) -> Iterator[Path]:
    """The files of ours that a file imports."""
    for name in imported(path):
        for candidate in (name, name.rpartition(".")[0]):
            if candidate in modules():
                yield modules()[candidate]
                break


def offences(names: Iterator[str] | frozenset[str], forbidden: set[str]) -> list[str]:
    return sorted(name for name in set(names) if any(name == f or name.startswith(f + ".") for f in forbidden))


def test_every_file_stands_in_a_room_and_every_room_is_there() -> None:
    homeless = [name_of(path) for path in sources() if path.parent.parent != ROOT and room_of(name_of(path)) is None]
    loose = [
        name_of(path)
        for path in sources()
        if path.parent.parent == ROOT and path.name != "__init__.py" and room_of(name_of(path)) is None
    ]
    empty = [r.place for r in rooms() if not (ROOT / r.place).is_dir() and not (ROOT / f"{r.place}.py").is_file()]

    assert (homeless, loose, empty) == ([], [], [])


def test_no_room_is_crowded() -> None:
    folders: dict[Path, int] = {}
    for path in sources():
        folders[path.parent] = folders.get(path.parent, 0) + (path.name != "__init__.py")

    assert {name_of(folder): count for folder, count in folders.items() if count > MOST_FILES} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_knows_only_those_below_it(package: str) -> None:
    strangers = {f"singlepoint.{other}" for other in PACKAGES if other not in KNOWS[package]}
    found = {
        name_of(path): names
        for path in sources()
        if path.is_relative_to(ROOT / package) and (names := offences(imported(path), strangers))
    }

    assert found == {}


def test_jobs_knows_no_numpy() -> None:
    found = [name_of(path) for path in sources() if path.is_relative_to(ROOT / "jobs")]

    assert [name for name in found if offences(imported(ROOT / name), {"numpy"})] == []


def test_nothing_is_imported_by_a_name_it_does_not_have_when_installed() -> None:
    files = [*sources(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), ROOT / "singlepoint.py"]

    assert [name_of(path) for path in files if offences(imports(path.read_text(), "x"), set(PACKAGES))] == []


def test_an_import_goes_down_never_up_and_never_across() -> None:
    found = []
    for path in sources():
        here = room_of(name_of(path))
        for other in ours(path):
            there = room_of(name_of(other))
            same_package = path.relative_to(ROOT).parts[0] == other.relative_to(ROOT).parts[0]
            if here and there and same_package and here.place != there.place and there.floor <= here.floor:
                found.append(f"{name_of(path)} -> {name_of(other)}")

    assert found == []


def circles(graph: Mapping[Path, frozenset[Path]]) -> list[str]:
    """One line a circle of imports, files in the order in which they import each other."""
    found: list[str] = []
    done: set[Path] = set()

    def visit(path: Path, trail: list[Path]) -> None:
        if path in trail:
            found.append(" -> ".join(map(name_of, [*trail[trail.index(path) :], path])))
        elif path not in done:
            for other in sorted(graph[path]):
                visit(other, [*trail, path])
            done.add(path)

    for path in graph:
        visit(path, [])
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_imported_in_a_circle(package: str) -> None:
    files = [path for path in sources() if path.is_relative_to(ROOT / package)]
    graph = {path: frozenset(other for other in ours(path) if other in files and other != path) for path in files}

    assert circles(graph) == []


def test_a_pure_room_reads_no_clock_file_redis_or_environment() -> None:
    found = {}
    for path in sources():
        room = room_of(name_of(path))
        if room and room.pure and (names := offences(imported(path), IMPURE - ALLOWED.get(name_of(path), set()))):
            found[name_of(path)] = names

    assert found == {}


def test_a_pure_room_imports_only_pure_ones() -> None:
    everybodys = {"jobs/errors", "jobs/clock", "jobs/amounts", "jobs/documents"}
    found = []
    for path in sources():
        room = room_of(name_of(path))
        for other in ours(path) if room and room.pure and name_of(path) not in FILE_READERS else ():
            there = room_of(name_of(other))
            if there and not there.pure and there.place not in everybodys:
                found.append(f"{name_of(path)} -> {name_of(other)}")

    assert found == []


def test_rq_is_touched_in_as_few_files_as_possible() -> None:
    users = {name_of(path) for path in sources() if offences(imported(path), {"rq"})}

    assert users - RQ_WORKERS <= RQ


def test_no_source_file_loads_a_pickle_or_imports_a_name_found_in_data() -> None:
    dangerous = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}

    assert [name_of(path) for path in sources() if offences(imported(path), dangerous)] == []


def test_tests_mirror_the_rooms() -> None:
    """A folder of tests is the folder of what it tests."""
    strangers = [
        name_of(path)
        for package in PACKAGES
        for path in (ROOT / "tests" / package).rglob("test_*.py")
        if not (ROOT / path.parent.relative_to(ROOT / "tests")).is_dir()
    ]

    assert strangers == []


def test_the_check_itself_sees_every_way_of_importing() -> None:
    ways = (
        "import singlepoint.scheduler",
        "from singlepoint import scheduler",
        "import singlepoint.scheduler.policy as p",
        "from ...scheduler import x",
        "def f():\n    from singlepoint.scheduler.runtime import loop",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from singlepoint.scheduler.world import line",
    )
    here = "singlepoint.jobs.commands.x"

    assert [bool(offences(imports(way, here), {"singlepoint.scheduler"})) for way in ways] == [True] * 6
    innocent = "from .scheduler import x\nimport schedulers"
    assert offences(imports(innocent, here), {"singlepoint.scheduler"}) == []


def test_the_check_itself_finds_a_circle() -> None:
    a, b, c = (ROOT / name for name in "abc")

    assert circles({a: frozenset({b}), b: frozenset({c}), c: frozenset({a})}) == ["a -> b -> c -> a"]
    assert circles({a: frozenset({b, c}), b: frozenset({c}), c: frozenset()}) == []
