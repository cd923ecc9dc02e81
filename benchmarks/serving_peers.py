"""The servers that `benchmarks.serving` is compared with, each with the same weights, in a process of its own.

    python -m benchmarks.serving_peers NAME PORT WEIGHTS.npz

`plain`: what one writes by hand, starlette and PyTorch: a route that trusts its caller (no token, no checks, no limits,
no batches).  `litserve`: batches of 32, waiting 1 ms.  `mlflow`: its scoring server.  Each is skipped where it is not
installed.
"""

from __future__ import annotations

import json
import os
import sys

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np

from benchmarks.serving_network import network


def plain(port: int, path: str) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    predict = network(path)

    async def infer(request: Request) -> Response:
        [one] = json.loads(await request.body())["inputs"]
        answer = predict(np.array(one["data"], np.float64).reshape(one["shape"]))
        return JSONResponse({"outputs": [{"name": "probabilities", "data": answer.ravel().tolist()}]})

    async def binary(request: Request) -> Response:
        rows = np.frombuffer(await request.body(), "<f4").reshape(-1, 30).astype(np.float64)
        return Response(predict(rows).tobytes(), media_type="application/octet-stream")

    routes = [Route("/infer", infer, methods=["POST"]), Route("/binary", binary, methods=["POST"])]
    uvicorn.run(Starlette(routes=routes), port=port, http="httptools", access_log=False, log_level="warning")


def litserve(port: int, path: str) -> None:
    import litserve as ls

    from benchmarks.serving_litserve import Api

    server = ls.LitServer(Api(path), accelerator="cpu", workers_per_device=1)
    server.run(port=port, log_level="warning", generate_client_file=False)


def mlflow(port: int, path: str) -> None:
    import mlflow.pyfunc
    import uvicorn
    from mlflow.pyfunc.scoring_server import init

    class Model(mlflow.pyfunc.PythonModel):
        def load_context(self, context):  # type: ignore[no-untyped-def]
            self.predict_rows = network(context.artifacts["weights"])

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return self.predict_rows(np.asarray(model_input, np.float64))

    place = f"{path}.mlflow"
    mlflow.pyfunc.save_model(place, python_model=Model(), artifacts={"weights": path}, pip_requirements=[])
    uvicorn.run(init(mlflow.pyfunc.load_model(place)), port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    {"plain": plain, "litserve": litserve, "mlflow": mlflow}[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
