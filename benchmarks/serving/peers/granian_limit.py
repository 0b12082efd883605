"""The limit: a bare server, its JSON, and one call of ONNX Runtime. Nothing is checked, logged or counted."""

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import orjson

FOLDER = Path(os.environ["DATA"])
FIELDS = orjson.loads((FOLDER / "fields.json").read_bytes())
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(str(FOLDER / "model.onnx"), options)
HEADERS = [("content-type", "application/json")]


class App:
    """RSGI: `/hello` says hello, everything else predicts."""

    async def __rsgi__(self, scope, proto):
        if scope.path == "/hello":
            proto.response_bytes(200, HEADERS, b'{"hello":"world"}')
            return
        row = orjson.loads(await proto())
        found = session.run(None, {"x": np.array([[row[k] for k in FIELDS]], dtype=np.float32)})[0]
        proto.response_bytes(200, HEADERS, orjson.dumps({"prediction": float(found[0, 0])}))


app = App()
