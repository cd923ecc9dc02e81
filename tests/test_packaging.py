"""What is shipped and how it is installed: the lock, the package list, the containers, the way to a Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from hatch_build import INSTALLED_AS

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return found[0].lower().replace("_", "-")


def locked() -> dict[str, list[str]]:
    """Name -> the lock's entries for it, continued lines joined."""
    entries: dict[str, list[str]] = {}
    for entry in re.sub(r"\\\n", " ", LOCK).splitlines():
        if entry and not entry.lstrip().startswith("#"):
            entries.setdefault(name_of(entry), []).append(entry)
    return entries


# ---- the package -----------------------------------------------------------------------------------------


def build(target: str, source: Path, place: Path) -> Path:
    """What `pip install` would make of a folder of sources."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(place)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [path] = place.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return zipfile.ZipFile(build("wheel", ROOT, tmp_path_factory.mktemp("wheel")))


def test_the_sdist_builds_the_same_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", ROOT, tmp_path / "sdist")) as archive:
        filters = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.3 and older have none
        archive.extractall(tmp_path / "unpacked", **filters)
    [sources] = (tmp_path / "unpacked").iterdir()

    assert zipfile.ZipFile(build("wheel", sources, tmp_path / "wheel")).namelist() == wheel.namelist()


def test_everything_lives_under_one_name_when_installed(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0].partition("-")[0] for name in wheel.namelist()}

    assert tops == {"singlepoint"}


def test_the_wheel_has_every_source_file_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", *INSTALLED_AS], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    expected = {INSTALLED_AS.get(name, f"singlepoint/{name}") for name in tracked}

    assert {name for name in wheel.namelist() if name.startswith("singlepoint/")} == expected


def test_the_wheel_runs_beside_packages_of_the_same_names(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "installed")
    for name in ("jobs", "worker", "scheduler"):
        (tmp_path / "own" / name).mkdir(parents=True)
        (tmp_path / "own" / name / "__init__.py").write_text("raise ImportError('not yours')")
    program = "from singlepoint import Model, submit; import singlepoint; print(singlepoint.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "own",
        env={"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip() == str(tmp_path / "installed" / "singlepoint" / "__init__.py")


def test_every_dependency_earns_its_place_in_a_sentence() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lines = text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")].splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith('"'):
            assert "# " in line or lines[number - 1].strip().startswith("# "), line


# ---- the lock --------------------------------------------------------------------------------------------


def test_the_lock_names_no_address() -> None:
    assert re.findall(r"https?:|file:|--(?:extra-)?index-url|--find-links|@ ", LOCK) == []


def test_the_lock_pins_everything_by_version_and_hash() -> None:
    for name, entries in locked().items():
        for entry in entries:
            assert "==" in entry, entry
            assert "--hash=sha256:" in entry, name


def test_the_lock_has_what_running_and_testing_need() -> None:
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["test"]]

    assert {name_of(requirement) for requirement in wanted} <= set(locked())


def test_files_that_would_record_addresses_are_not_kept() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()

    assert {"uv.lock", "pylock.toml"} <= set(ignored)


# ---- the way to a Python ---------------------------------------------------------------------------------


def fake_python(directory: Path, name: str, *, new: bool, venv: bool) -> None:
    """A program that answers the two questions .ci/python asks, and tells its version."""
    script = f"""#!/bin/sh
case "$2" in
    *ensurepip*) exit {0 if venv else 1} ;;
    *print*) echo 3.12 ;;
    *) exit {0 if new else 1} ;;
esac
"""
    (directory / name).write_text(script)
    (directory / name).chmod(0o755)


def find_python(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / ".ci" / "python")],
        env={"PATH": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_old_python_is_passed_over_for_a_newer_one(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", new=False, venv=True)
    fake_python(tmp_path, "python3.12", new=True, venv=True)

    assert find_python(tmp_path).stdout.strip() == str(tmp_path / "python3.12")


def test_a_python_without_venv_is_answered_with_the_package_to_install(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", new=True, venv=False)
    found = find_python(tmp_path)

    assert found.returncode == 1
    assert "apt install python3.12-venv" in found.stderr


def test_no_python_at_all_is_answered_with_what_to_install(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", new=False, venv=True)
    found = find_python(tmp_path)

    assert found.returncode == 1
    assert "apt install python3 python3-venv" in found.stderr
    assert "brew install python" in found.stderr


def test_the_python_that_was_asked_for_comes_first(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", new=True, venv=True)

    assert find_python(tmp_path, PYTHON=sys.executable).stdout.strip() == sys.executable


# ---- containers ------------------------------------------------------------------------------------------

KEYS_OF_1_29_AND_2 = {
    *("image", "build", "user", "network_mode", "init", "read_only", "tmpfs", "cap_drop", "security_opt", "restart"),
    *("stop_grace_period", "volumes", "command", "mem_limit", "pids_limit", "cpus", "healthcheck", "depends_on"),
    *("environment", "ports"),
}


@pytest.fixture
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def test_the_services_come_from_one_image_and_each_is_watched(compose: dict[str, Any]) -> None:
    services = compose["services"]

    assert set(services) == {"redis", "scheduler", "worker", "serving", "page"}
    assert {service["image"] for service in services.values()} == {"singlepoint:latest"}
    assert all(service["healthcheck"]["test"][0] == "CMD" for service in services.values())
    assert services["worker"]["depends_on"]["redis"] == {"condition": "service_healthy"}


def test_no_container_has_root_or_a_writable_system_and_only_the_page_a_port(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service.get("ports", []) == (["127.0.0.1:8080:8080"] if name == "page" else [])
        assert service["network_mode"] == ("bridge" if name == "page" else "none")
        assert service["user"].split(":")[0] not in {"", "0", "root"}
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_only_keys_that_both_compose_versions_know_are_used(compose: dict[str, Any]) -> None:
    assert set(compose) - {"x-service"} == {"services", "volumes"}
    for service in compose["services"].values():
        assert set(service) <= KEYS_OF_1_29_AND_2
    mounted = {mount.partition(":")[0] for service in compose["services"].values() for mount in service["volumes"]}
    assert mounted == set(compose["volumes"]), "named volumes, all of them declared"


def test_the_health_checks_and_commands_exist(compose: dict[str, Any]) -> None:
    from singlepoint import WHERE
    from singlepoint.worker.doctor import ALL

    for service in compose["services"].values():
        assert service["command"][0] in WHERE
        test = service["healthcheck"]["test"]
        if test[1] == "python":
            compile(test[3], "healthcheck", "exec")
        else:
            assert (test[1:4], test[4] in ALL) == (["singlepoint", "doctor", "--only"], True)


def test_no_secret_is_in_the_image_or_the_compose_file(compose: dict[str, Any]) -> None:
    assert "TOKEN" not in (ROOT / "Dockerfile").read_text()
    assert compose["services"]["page"]["environment"] == {"SINGLEPOINT_TOKEN": "${SINGLEPOINT_TOKEN:-}"}


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="this machine has no compose client")
def test_the_compose_client_accepts_the_file() -> None:
    told = subprocess.run(
        ["docker-compose", "config", "--quiet"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "SINGLEPOINT_WORKERS": "3"},
        check=False,
    )

    assert told.returncode == 0, told.stderr


def test_the_image_copies_every_package_and_runs_as_somebody() -> None:
    image = (ROOT / "Dockerfile").read_text()
    copied = " ".join(re.findall(r"^COPY (.*)$", image, re.MULTILINE)).split()

    assert {"hatch_build.py", *INSTALLED_AS} <= set(copied)
    assert re.search(r"^USER 10001", image, re.MULTILINE)
    # An engine of 2021 knows none of these.
    assert not re.search(r"RUN --mount|<<|COPY --chmod", image)
