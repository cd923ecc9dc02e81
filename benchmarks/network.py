"""The numpy core beside what a user would pick instead, in one run, on one thread each.

    python -m benchmarks.network [--quick] [--only WORD] [--part training|text|inference]

Training: time of one optimiser step (gather, forward, backward, Adam), our Trainer against eager PyTorch with fused
Adam (for convolutions the better of both memory formats) and, where it has the network, scikit-learn's MLP. Text: one
step on TF-IDF rows that are kept sparse, against the same rows as a dense array in ours, and dense rows of that size in
PyTorch. Inference: against PyTorch and onnxruntime. Competitors take turns in short blocks, and the medians are
compared, so that what else the machine does falls on all of them. Ratios are our time / PyTorch's: below 1, ours is
faster.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)  # the kernel native to the machine, for ours as for everybody's

import argparse
import io
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter

from benchmarks.needs import needed

with needed("parity"):
    import onnxruntime
    import torch
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

from singlepoint.jobs.spec.network import Layer
from singlepoint.jobs.spec.training import TrainingSpec
from singlepoint.worker.data.preprocessing.rows import SparseRows, sparse_rows
from singlepoint.worker.ground.numeric_environment import fingerprint
from singlepoint.worker.nn.arrays import Input
from singlepoint.worker.nn.inference import BoundPass, InferenceSession
from singlepoint.worker.nn.learning.trainer import Trainer
from singlepoint.worker.nn.network import Network

torch.set_num_threads(1)
warnings.simplefilter("ignore", ConvergenceWarning)

Run = Callable[[int], int]
"""Does about a number of steps; returns how many it did."""


@dataclass(frozen=True)
class Case:
    """A network, a batch, and the ratio to PyTorch that is aimed at."""

    name: str
    layers: tuple[dict[str, object], ...]
    input_shape: tuple[int, ...]
    batch: int
    target: float
    goal: float | None = None


def dense(units: int, activation: str = "relu") -> dict[str, object]:
    return {"type": "dense", "units": units, "activation": activation}


def mlp(*units: int) -> tuple[dict[str, object], ...]:
    return (*map(dense, units[:-1]), dense(units[-1], "softmax"))


def cnn(first: int, second: int) -> tuple[dict[str, object], ...]:
    convs = [{"type": "conv2d", "filters": filters, "kernel": 3, "activation": "relu"} for filters in (first, second)]
    pool = {"type": "max_pool2d"}
    return (convs[0], pool, convs[1], pool, {"type": "flatten"}, dense(128), dense(10, "softmax"))


def rnn(kind: str, units: int) -> tuple[dict[str, object], ...]:
    return ({"type": kind, "units": units}, dense(10, "softmax"))


CASES = (
    Case("table 30-64-32-2", mlp(64, 32, 2), (30,), 32, 0.25),
    Case("784-128-10", mlp(128, 10), (784,), 32, 0.75),
    Case("784-128-10", mlp(128, 10), (784,), 128, 0.75),
    Case("784-512-256-10", mlp(512, 256, 10), (784,), 128, 0.95),
    Case("784-1024-1024-10", mlp(1024, 1024, 10), (784,), 128, 1.0),
    Case("cnn 16/32", cnn(16, 32), (28, 28, 1), 32, 1.15, 1.0),
    Case("cnn 16/32", cnn(16, 32), (28, 28, 1), 128, 1.15, 1.0),
    Case("cnn 32/64", cnn(32, 64), (28, 28, 1), 32, 1.15, 1.0),
    Case("cnn 32/64", cnn(32, 64), (28, 28, 1), 128, 1.15, 1.0),
    *(
        Case(f"{kind} {steps}x{features}->{units}", rnn(kind, units), (steps, features), 32, 1.35, 1.0)
        for kind in ("lstm", "gru")
        for steps, features, units in ((20, 32, 64), (50, 64, 128), (100, 128, 256))
    ),
)


# -- the competitors ---------------------------------------------------------------------------------------------------


def a_network(case: Case) -> Network:
    network = Network.build(TypeAdapter(list[Layer]).validate_python(case.layers), case.input_shape)
    network.initialise(0)
    return network


def data(case: Case, rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    classes = int(str(case.layers[-1]["units"]))
    return rng.standard_normal((rows, *case.input_shape), np.float32), rng.integers(0, classes, rows)


def ours(case: Case, x: Input | None = None, optimiser: str = "adam") -> Run:
    drawn, y = data(case, 8 * case.batch)
    x = drawn if x is None else x
    spec = {"epochs": 10**6, "batch_size": case.batch, "optimiser": {"type": optimiser}}
    trainer = Trainer(
        a_network(case), TrainingSpec.model_validate(spec), x, y, task="classification", n_classes=int(y.max()) + 1
    )

    def run(steps: int) -> int:
        for _ in range(steps):
            trainer.advance()
        return steps

    return run


class ChannelsFirst(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 3, 1, 2)


class LastState(torch.nn.Module):
    def __init__(self, kind: str, features: int, units: int) -> None:
        super().__init__()
        self.layer = getattr(torch.nn, kind.upper())(features, units, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0][:, -1]


def torch_module(case: Case) -> torch.nn.Module:
    shape, parts = case.input_shape, []
    for layer in case.layers:
        kind, units = layer["type"], layer.get("units", 0)
        if kind == "dense":
            parts += [torch.nn.Linear(shape[0], units)] + [torch.nn.ReLU()] * (layer["activation"] == "relu")
            shape = (units,)
        elif kind == "conv2d":
            parts += [] if parts else [ChannelsFirst()]
            parts += [torch.nn.Conv2d(shape[2], layer["filters"], 3), torch.nn.ReLU()]
            shape = (shape[0] - 2, shape[1] - 2, layer["filters"])
        elif kind == "max_pool2d":
            parts += [torch.nn.MaxPool2d(2)]
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        elif kind == "flatten":
            parts += [torch.nn.Flatten()]
            shape = (int(np.prod(shape)),)
        else:
            parts += [LastState(kind, shape[1], units)]
            shape = (units,)
    return torch.nn.Sequential(*parts)


def pytorch(case: Case, channels_last: bool = False, optimiser: str = "Adam") -> Run:
    module = torch_module(case)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    x, y = (torch.from_numpy(array) for array in data(case, 8 * case.batch))
    updater = getattr(torch.optim, optimiser)(module.parameters(), fused=True)
    starts = range(0, len(x), case.batch)
    order = torch.randperm(len(x))

    def run(steps: int) -> int:
        for step in range(steps):
            rows = order[starts[step % len(starts)] :][: case.batch]
            updater.zero_grad()
            torch.nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
            updater.step()
        return steps

    return run


def scikit_learn(case: Case) -> Run:
    """Whole fits, whose set-up is shared by 64 steps an epoch; its step alone cannot be called."""
    x, y = data(case, 64 * case.batch)
    hidden = [int(str(layer["units"])) for layer in case.layers[:-1]]

    def run(steps: int) -> int:
        epochs = max(1, steps // 64)
        model = MLPClassifier(
            hidden, batch_size=case.batch, max_iter=epochs, tol=0, n_iter_no_change=10**9, alpha=0.0, random_state=0
        )
        model.fit(x, y)
        return 64 * epochs

    return run


# -- timing ------------------------------------------------------------------------------------------------------------


def medians_s(runs: dict[str, Run], block_s: float, rounds: int) -> dict[str, float]:
    """Seconds of one step for each competitor: the median over blocks that take turns."""
    steps = {}
    for name, run in runs.items():
        run(1)
        steps[name] = max(1, round(block_s / timed(run, 1)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(timed(run, steps[name]))
    return {name: statistics.median(measured) for name, measured in times.items()}


def timed(run: Run, steps: int) -> float:
    """Seconds a step. Of the processor, not of the clock: each competitor has one thread, and may be interrupted."""
    begun = time.process_time()
    done = run(steps)
    return (time.process_time() - begun) / done


def verdict(ratio: float, case: Case) -> str:
    if case.goal is not None and ratio <= case.goal:
        return f"<= {case.goal:.2f} goal met"
    return f"<= {case.target:.2f} {'met' if ratio <= case.target else 'MISSED'}"


def compare_training(cases: list[Case], block_s: float, rounds: int) -> None:
    print("\nTraining, one step with Adam, float32, one thread, ms")
    print(f"{'network':<22}{'batch':>6}{'ours':>9}{'torch':>9}{'sklearn':>9}{'ratio':>8}  target")
    for case in cases:
        runs = {"ours": ours(case), "torch": pytorch(case)}
        if any(layer["type"] == "conv2d" for layer in case.layers):
            runs["torch, channels last"] = pytorch(case, channels_last=True)
        if all(layer["type"] == "dense" for layer in case.layers):
            runs["sklearn"] = scikit_learn(case)
        measured = medians_s(runs, block_s, rounds)
        theirs = min(value for name, value in measured.items() if name.startswith("torch"))
        sklearn = f"{measured['sklearn'] * 1e3:9.3f}" if "sklearn" in measured else f"{'-':>9}"
        ratio = measured["ours"] / theirs
        print(
            f"{case.name:<22}{case.batch:>6}{measured['ours'] * 1e3:9.3f}{theirs * 1e3:9.3f}{sklearn}{ratio:8.2f}  "
            f"{verdict(ratio, case)}",
            flush=True,
        )


def text_rows(rows: int, terms: int = 20_000, words: int = 30) -> SparseRows:
    """Made-up texts whose words are about as unequally frequent as those of a language."""
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1.0, terms + 1)
    texts = [np.unique(rng.choice(terms, words, p=frequency / frequency.sum())).tolist() for _ in range(rows)]
    return sparse_rows([(text, rng.random(len(text)).tolist()) for text in texts], terms)


def compare_text(block_s: float, rounds: int) -> None:
    """What remains of a step on sparse rows is mostly the update, which Adam makes of every weight."""
    print("\nTraining on TF-IDF rows, 20000-32-2, batch 64, one step, float32, one thread, ms")
    print(f"{'optimiser':<22}{'sparse':>9}{'dense':>9}{'torch':>9}{'/dense':>8}{'/torch':>8}")
    case = Case("text", mlp(32, 2), (20_000,), 64, 1.0)
    x = text_rows(8 * case.batch)
    for name in ("SGD", "Adam", "AdamW"):
        runs = {
            "sparse": ours(case, x, name.lower()),
            "dense": ours(case, x[:], name.lower()),
            "torch": pytorch(case, optimiser=name),
        }
        sparse, dense, theirs = medians_s(runs, block_s, rounds).values()
        print(
            f"{name:<22}{sparse * 1e3:9.3f}{dense * 1e3:9.3f}{theirs * 1e3:9.3f}"
            f"{sparse / dense:8.2f}{sparse / theirs:8.2f}",
            flush=True,
        )


def compare_inference(cases: list[Case], block_s: float, rounds: int, batches: tuple[int, ...]) -> None:
    print("\nInference, one call, float32, one thread, ms; our rows have the same bits in any batch")
    print(f"{'network':<22}{'batch':>6}{'ours':>9}{'torch':>9}{'ort':>9}{'/torch':>8}{'/ort':>8}{'/16 torch':>11}")
    for case in {case.name: case for case in cases}.values():
        network, module = a_network(case), torch_module(case).eval()
        session = onnx_session(case, module)
        recurrent = len(case.input_shape) == 2
        one_s = 0.0
        for batch in (batch for batch in batches if batch <= 512 or not recurrent):
            x = data(case, batch)[0]
            measured = medians_s(
                {"ours": predicting(network, x), "torch": scoring(module, x), "ort": running(session, x)},
                block_s,
                rounds,
            )
            ours_s, torch_s, ort_s = (measured[name] for name in ("ours", "torch", "ort"))
            one_s = torch_s if batch == 1 else one_s
            singly = f"{ours_s / (batch * one_s):8.2f}" if batch == 16 else ""
            print(
                f"{case.name:<22}{batch:>6}{ours_s * 1e3:9.3f}{torch_s * 1e3:9.3f}{ort_s * 1e3:9.3f}"
                f"{ours_s / torch_s:8.2f}{ours_s / ort_s:8.2f}{singly}",
                flush=True,
            )


def predicting(network: Network, x: np.ndarray) -> Run:
    """A single row by a bound pass, as whoever answers one at a time would."""
    session = InferenceSession(network)
    if len(x) == 1:
        return answering(session.bound(1), x)

    def run(steps: int) -> int:
        for _ in range(steps):
            session.predict(x)
        return steps

    return run


def answering(bound: BoundPass, x: np.ndarray) -> Run:
    def run(steps: int) -> int:
        with np.errstate(all="ignore"):
            for _ in range(steps):
                bound.x[...] = x
                bound()
        return steps

    return run


def scoring(module: torch.nn.Module, x: np.ndarray) -> Run:
    rows = torch.from_numpy(x)

    def run(steps: int) -> int:
        with torch.inference_mode():
            for _ in range(steps):
                torch.softmax(module(rows), 1)
        return steps

    return run


def running(session: onnxruntime.InferenceSession, x: np.ndarray) -> Run:
    def run(steps: int) -> int:
        for _ in range(steps):
            session.run(None, {"x": x})
        return steps

    return run


def onnx_session(case: Case, module: torch.nn.Module) -> onnxruntime.InferenceSession:
    model = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch.nn.Sequential(module, torch.nn.Softmax(1)),
            (torch.zeros(2, *case.input_shape),),
            model,
            input_names=["x"],
            dynamic_axes={"x": {0: "rows"}},
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.getvalue(), options, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter blocks and fewer batches: noisier")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--part", choices=("training", "text", "inference"), help="only this one")
    arguments = parser.parse_args()
    cases = [case for case in CASES if arguments.only in case.name]
    block_s, rounds = (0.05, 7) if arguments.quick else (0.15, 15)
    blas = fingerprint(1)
    print(f"numpy {np.__version__} for {blas['cpu_features']}; {blas['blas']}, kernel {blas['blas_architecture']}")
    print(f"torch {torch.__version__} for {torch.backends.cpu.get_cpu_capability()}")
    print(f"onnxruntime {onnxruntime.__version__}")
    if arguments.part in (None, "training"):
        compare_training(cases, block_s, rounds)
    if arguments.part in (None, "text"):
        compare_text(block_s, rounds)
    if arguments.part in (None, "inference"):
        batches = (1, 16, 32) if arguments.quick else (1, 16, 32, 512, 4096)
        compare_inference(cases, block_s / 2, rounds // 2, batches)


if __name__ == "__main__":
    main()
