"""Makes the home that a release leaves behind for the tests of all later ones; run once, when a version is released.

    python tests/homes/make.py /path/to/that/release/bin/singlepoint tests/homes/0.1.0

Only that release's command is used, so any version can be asked. The home has one job in each state, a model, a
training that was killed between two checkpoints, and the same training undisturbed: the result it must come to.
What is of this machine (paths, the fingerprints over them) is put right when it is unpacked, by `unpack.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "jobs" / "demo" / "wdbc.csv"
TRAINING = """\
kind = "train"
name = "{name}"
checkpoint_interval_s = 0.05
[data]
path = "wdbc.csv"
target = "diagnosis"
[model]
hidden = [8]
dropout = 0.1
[training]
epochs = {epochs}
optimiser = {optimiser}
seed = 7
[resources]
memory = "128MiB"
"""
ADAM = '{ type = "adam", learning_rate = 0.001 }'
TOO_FAST = '{ type = "sgd", learning_rate = 1e30 }'
KEPT = ("home.json", "jobs", "models")
"""Of the home. Redis's data, locks and logs are of the machine, and made anew."""


class Release:
    """The command of a release, at work in one directory."""

    def __init__(self, command: str, directory: Path) -> None:
        self.command, self.directory = command, directory

    def run(self, *words: str, check: bool = True) -> str:
        argv = [self.command, "--home", str(self.directory / "home"), *words]
        return subprocess.run(argv, cwd=self.directory, check=check, capture_output=True, text=True).stdout.strip()

    def train(self, name: str, *more: str, epochs: int = 40, optimiser: str = ADAM) -> str:
        (self.directory / f"{name}.toml").write_text(TRAINING.format(name=name, epochs=epochs, optimiser=optimiser))
        return self.run("submit", "train", f"{name}.toml", "-q", *more)

    def show(self, job: str) -> dict[str, Any]:
        return dict(json.loads(self.run("show", job, "--json")))

    def wait_for(self, job: str, state: str) -> None:
        while (seen := self.show(job)["state"]) != state:
            assert seen in ("pending", "queued", "running"), self.show(job)
            time.sleep(0.02)


def fill(release: Release) -> dict[str, str]:
    """One job in each state, by what it is there for; everything is dead afterwards."""
    jobs: dict[str, str] = {}
    release.run("up", "--detach", "--workers", "1", "--budget", "cpu=2,memory=2GiB")
    jobs["undisturbed"] = release.train("undisturbed", "--wait", epochs=400)
    words = ("--model", "undisturbed", "--input", "wdbc.csv", "--output", "answers.csv")
    jobs["scored"] = release.run("submit", "predict", *words, "-q", "--wait")
    jobs["failed"] = release.train("failed", optimiser=TOO_FAST)
    release.wait_for(jobs["failed"], "failed")
    release.run("drain")  # so that nothing below can end before all of it is there
    jobs["running"] = release.train("running", epochs=400)
    jobs["queued"] = release.train("queued")  # will be granted room, but the one worker is busy
    jobs["after"] = release.train("after", "--after", jobs["running"])
    jobs["held"] = release.train("held")
    release.run("pause", jobs["held"])
    jobs["cancelled"] = release.train("cancelled")
    release.run("cancel", jobs["cancelled"])
    release.run("drain", "--off")
    checkpoints = release.directory / "home" / "jobs" / jobs["running"] / "checkpoints"
    while len(list(checkpoints.glob("*.safetensors"))) < 2:
        time.sleep(0.002)
    kill_everything(release.directory / "home")
    return jobs


def kill_everything(home: Path) -> None:
    """As a power cut would: the supervisor first, or it would start the others again."""
    supervisor = json.loads((home / "supervisor.lock").read_bytes().decode())["pid"]
    os.kill(supervisor, signal.SIGKILL)
    subprocess.run(["pkill", "-KILL", "-f", str(home)], check=False)
    time.sleep(1)


def main(command: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shutil.copyfile(DATA, directory / "wdbc.csv")
        jobs = fill(Release(command, directory))
        home = directory / "home"
        histories = {what: (home / "jobs" / job / "history.jsonl").read_text() for what, job in jobs.items()}
        ends = {what: json.loads(text.splitlines()[-1])["event"] for what, text in histories.items()}
        assert (ends["running"], ends["queued"]) == ("record", "dispatch"), ends
        (target / "home").mkdir(parents=True)
        for kept in KEPT:
            (shutil.copytree if (home / kept).is_dir() else shutil.copyfile)(home / kept, target / "home" / kept)
        shutil.copyfile(directory / "answers.csv", target / "answers.csv")
        for lock in [*target.rglob("*.lock"), *target.rglob("lock")]:
            lock.unlink()
        (target / "fixture.json").write_text(json.dumps({"made_in": name, "jobs": jobs}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).absolute())
