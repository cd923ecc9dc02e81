"""What a command finds in its environment: what was kept for it at submit, and what we tell it."""

from __future__ import annotations

import json
from pathlib import Path

from singlepoint.jobs.lifecycle.records import Units
from singlepoint.jobs.store.job_files import JobFiles
from singlepoint.worker.ground.tree import JOB_ID_VARIABLE
from singlepoint.worker.ground.work import Work

THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "LOKY_MAX_CPU_COUNT"),
)
"""By which the usual libraries learn how many threads they may have; else they count the machine's cores."""

DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
"""By which CUDA and ROCm learn of the devices that a program may see; not ROCR_VISIBLE_DEVICES besides, which would
have the second count among those that it left."""


def progress_file(files: JobFiles) -> Path:
    return files.told / "progress.jsonl"


def error_file(files: JobFiles) -> Path:
    return files.told / "error.txt"


def stop_file(files: JobFiles) -> Path:
    return files.told / "stop"


def variables(work: Work, output: Path) -> dict[str, str]:
    """The whole environment of the command. output: the directory that will be published."""
    kept = json.loads(work.files.environment.read_bytes())
    cores = str(max(1, len(work.terms.cores)))
    started_before = sum(attempt.started_at is not None for attempt in work.job.attempts[:-1])
    told = {
        "SINGLEPOINT_HOME": str(work.place.home.path),
        JOB_ID_VARIABLE: work.job.id,
        "SINGLEPOINT_JOB_NAME": work.job.name,
        "SINGLEPOINT_ATTEMPT": str(work.attempt),
        "SINGLEPOINT_RESTARTS": str(started_before),
        "SINGLEPOINT_CHECKPOINT_DIR": str(work.files.checkpoints),
        "SINGLEPOINT_OUTPUT_DIR": str(output),
        "SINGLEPOINT_PROGRESS_FILE": str(progress_file(work.files)),
        "SINGLEPOINT_ERROR_FILE": str(error_file(work.files)),
        "SINGLEPOINT_STOP_FILE": str(stop_file(work.files)),
        "SINGLEPOINT_GRACE_S": f"{work.place.grace_s:g}",
        "SINGLEPOINT_CPUS": cores,
        "SINGLEPOINT_MEMORY_BYTES": str(work.terms.resources.memory_bytes),
    }
    return {**dict.fromkeys(THREADS, cores), "PYTHONUNBUFFERED": "1", **kept, **told, **devices(work.terms.units)}


def devices(units: Units) -> dict[str, str]:
    """Which graphics processors it may see; none, where they are counted and it asked for none."""
    return dict.fromkeys(DEVICES, ",".join(map(str, units["gpu"]))) if "gpu" in units else {}
