"""`/metrics` for Prometheus. Every label is one of a few words: no id, name or path of anybody's is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from singlepoint.jobs.client.listing import Wanted, select
from singlepoint.jobs.client.session import Session
from singlepoint.jobs.host.frames import Frame
from singlepoint.jobs.lifecycle.records import RESOURCE_NAMES
from singlepoint.jobs.lifecycle.states import State

from .api.machine import machine_document

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


MOST_MODELS = 100


class _Predicting(NamedTuple):
    """What is counted of a model's predictions."""

    rows: Any
    seconds: Any
    queue_seconds: Any
    batch_rows: Any


LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

INFERENCE: tuple[tuple[type[Counter | Histogram], str, str, dict[str, Any]], ...] = (
    (Counter, "rows", "Rows predicted.", {}),
    (Histogram, "seconds", "Seconds from a request to its answer.", {"buckets": LATENCY_S}),
    (Histogram, "queue_seconds", "Of these, until it was its turn.", {"buckets": LATENCY_S}),
    (Histogram, "batch_rows", "Rows computed together.", {"buckets": [2.0**power for power in range(13)]}),
)
"""As `_Predicting` has them."""


class Metrics:
    """What this service counted since it started, and what the home is like at the moment it is asked."""

    def __init__(self, session: Session) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "singlepoint_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "singlepoint_http_request_seconds",
            "Seconds from a request's headers to the end of its answer.",
            ("route",),
            registry=self._registry,
        )
        self._inference = _Predicting(
            *(
                kind(f"singlepoint_inference_{name}", told, ("model",), registry=self._registry, **more)
                for kind, name, told, more in INFERENCE
            )
        )
        self._predicting: dict[str, _Predicting] = {}
        self._counting: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}  # to look a label up takes longest
        self._registry.register(_Home(session))

    def watch(self, waiting: Callable[[], int]) -> None:
        """Tell, whenever it is asked, how many predictions are under way."""
        gauge = Gauge("singlepoint_inference_waiting", "Predictions under way.", registry=self._registry)
        gauge.set_function(waiting)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        found = self._counting.get((method, route, status))
        if found is None:
            found = self._requests.labels(method, route, str(status)), self._seconds.labels(route)
            self._counting[method, route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def predicted(self, answer: Frame, asked_s: float, now_s: float) -> None:
        """Count a prediction. Only models that answered have a label, and of those the first MOST_MODELS."""
        if "rows" not in answer.head:
            return
        model = answer.head["model"]
        found = self._predicting.get(model)
        if found is None:
            label = model if len(self._predicting) < MOST_MODELS else "others"
            found = self._predicting[model] = _Predicting(*(one.labels(label) for one in self._inference))
            if label == "others":  # not remembered by name: names may be without end
                del self._predicting[model]
        found.rows.inc(answer.head["rows"])
        found.seconds.observe(now_s - asked_s)
        found.queue_seconds.observe(max(answer.at_s - asked_s, 0.0))
        found.batch_rows.observe(answer.head["batch_rows"])

    def text(self) -> bytes:
        text: bytes = generate_latest(self._registry)
        return text


class _Home:
    """Read anew each time: nothing is held between two scrapes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def collect(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("singlepoint_jobs", "Jobs by where they stand.", labels=("state",))
        counts = select(self._session, Wanted(ended=True, limit=1)).counts
        for state in State:
            jobs.add_metric((state.value,), counts.get(state.value, 0))
        yield jobs
        machine = machine_document(self._session)
        up = GaugeMetricFamily("singlepoint_up", "Whether a service is at work.", labels=("service",))
        up.add_metric(("scheduler",), machine["scheduler"])
        up.add_metric(("redis",), machine["redis"])
        yield up
        reserved = GaugeMetricFamily(
            "singlepoint_budget_reserved_ratio", "Granted, as a share of the budget.", labels=("resource",)
        )
        budget = machine["budget"] or {}
        for name in RESOURCE_NAMES:
            if budget.get(name):
                reserved.add_metric((name,), machine["granted"].get(name, 0) / budget[name])
        for name, count in budget.get("counted", {}).items():
            reserved.add_metric((name,), machine["granted"].get("counted", {}).get(name, 0) / count)
        yield reserved

    def describe(self) -> Iterator[Metric]:
        """Nothing: asked at registration, when nobody wants the home to be read."""
        return iter(())
