"""Learning-rate schedules: what the learning rate is multiplied by, as a function of the step."""

from __future__ import annotations

from math import cos, pi

from singlepoint.jobs.spec.training import Constant, Cosine, Schedule, Step, WarmUp


def rate_factor(schedule: Schedule, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """The factor for optimiser step `step` (from 0) of `total_steps`.

    Cosine is PyTorch's CosineAnnealingLR with T_max = total_steps: the final fraction would be reached one step after
    the last. Source: Loshchilov & Hutter, ICLR 2017.
    """
    match schedule:
        case Constant():
            return 1.0
        case Step():
            return schedule.factor ** (step // steps_per_epoch // schedule.every_epochs)
        case Cosine():
            final = schedule.final_fraction
            return final + (1 - final) * 0.5 * (1 + cos(pi * step / max(total_steps, 1)))
        case WarmUp():
            rising = max(round(schedule.epochs * steps_per_epoch), 1)
            if step < rising:
                return (step + 1) / rising
            return rate_factor(schedule.then, step - rising, steps_per_epoch, total_steps - rising)
