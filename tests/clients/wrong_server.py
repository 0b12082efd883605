"""A small server of the Open Inference Protocol that is right, or wrong in one way that has a name."""

from __future__ import annotations

import gzip
import json
import math
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

METADATA: dict[str, Any] = {
    "name": "twice", "versions": ["1"], "platform": "test", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}, {"name": "word", "datatype": "BYTES", "shape": [1]}]}


class Refused(Exception):
    """A status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Twice:
    """A model that doubles two numbers a row."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        try:
            return self._answer(method, path, headers, body)
        except Refused as e:
            told: Any = {"detail": str(e)} if self.fault == "errors as detail" else {"error": str(e)}
            return 500 if self.fault == "refuses with 500" else e.status, {}, json.dumps(told).encode()
        except Exception as e:
            raise_status = 500 if self.fault == "trips over odd bodies" else 400
            return raise_status, {}, json.dumps({"error": f"bad request: {e}"}).encode()

    def _answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/v2/health/"):
            return (503 if self.fault == "never ready" and path.endswith("ready") else 200), {}, b""
        if path == "/v2":
            told = {"name": "wrong", "version": 1 if self.fault == "version is a number" else "1",
                    "extensions": ["binary_tensor_data"]}
            return 200, {}, json.dumps(told).encode()
        if path == "/v2/repository/index":
            return 200, {}, b"[]" if self.fault == "an empty index" else b'[{"name": "twice", "state": "READY"}]'
        parts = path.removeprefix("/v2/models/").split("/")
        if parts[0] != "twice" and self.fault != "any model will do":
            raise Refused(404, "no such model")
        if "versions" in parts:
            if parts[2] != "1" and self.fault != "any version will do":
                raise Refused(404, "no such version")
            if self.fault == "no versions in paths":
                raise Refused(404, "nothing here")
            del parts[1:3]
        if method != ("POST" if parts[-1] == "infer" else "GET") and self.fault != "any verb will do":
            raise Refused(405, "another verb")
        if parts[-1] == "ready":
            return 200, {}, b""
        if parts[-1] == "infer":
            return self._infer(headers, body)
        told = METADATA | ({"inputs": [{"name": "x", "datatype": "float", "shape": [2]}]} if self.fault == "a datatype of its own" else {})
        return 200, {}, json.dumps(told).encode()

    def _infer(self, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.fault == "needs a content type" and "content-type" not in headers:
            raise Refused(422, "no content type")
        head = headers.get("inference-header-content-length")
        encoding = headers.get("content-encoding")
        if encoding and self.fault != "ignores compression":
            body = gzip.decompress(body) if encoding == "gzip" else zlib.decompress(body)
        length = int(head) if head is not None else len(body)
        if length < 0 or length > len(body):
            raise Refused(400, "odd header")
        asked, rest = json.loads(body[:length]), body[length:]
        (given,) = asked["inputs"] or [None]
        if given is None:
            raise Refused(400, "no input")
        if given["name"] != "x" or (given["datatype"] != "FP32" and self.fault != "any datatype will do"):
            raise Refused(400, "another input")
        shape = given["shape"]
        count = math.prod(shape)
        if len(shape) != 2 or shape[1] != 2 or shape[0] < 0:
            raise Refused(400, "another shape")
        size = (given.get("parameters") or {}).get("binary_data_size")
        if size is not None:
            if len(rest) != size and self.fault != "ignores what is left":
                raise Refused(400, "another length")
            values = list(struct.unpack(f"<{size // 4}f", rest[:size]))
        else:
            values = given["data"]
            if values and isinstance(values[0], list) and self.fault != "no nested data":
                values = [v for row in values for v in row]
        if len(values) != count and self.fault != "shapes are not checked":
            raise Refused(400, "another length")
        return self._outputs(asked, shape, [2.0 * v for v in values])

    def _outputs(self, asked: Any, shape: Any, values: list[float]) -> tuple[int, dict[str, str], bytes]:
        made = {"y": ("FP32", shape, values), "word": ("BYTES", [1], ["é"])}
        wanted = {o["name"]: o.get("parameters", {}) for o in asked.get("outputs", ())} or {key: {} for key in made}
        if set(wanted) - set(made) and self.fault != "any output will do":
            raise Refused(400, "no such output")
        if self.fault == "always all outputs":
            wanted = {key: {} for key in made} | wanted
        everything = (asked.get("parameters") or {}).get("binary_data_output", False)
        told, raws = [], []
        for name, parameters in wanted.items():
            if name not in made:
                continue
            datatype, size, data = made[name]
            about: dict[str, Any] = {"name": name, "datatype": datatype, "shape": size}
            if parameters.get("binary_data", everything) and self.fault != "no binary outputs":
                raw = struct.pack(f"{'>' if self.fault == 'big-endian' else '<'}{len(data)}f", *data) if name == "y" else (
                    struct.pack("<I", len(data[0].encode())) + data[0].encode())
                raws.append(raw)
                about["parameters"] = {"binary_data_size": len(raw) + (self.fault == "a size too large")}
            else:
                about["data"] = data + [0.0] * (self.fault == "more data than shape")
            told.append(about)
        answer: dict[str, Any] = {"model_name": "other" if self.fault == "another name" else "twice", "outputs": told}
        if "id" in asked and self.fault != "forgets the id":
            answer["id"] = asked["id"]
        if self.fault == "no outputs":
            answer["outputs"] = []
        head = b"{" if self.fault == "no json" else json.dumps(answer).encode()
        return 200, {"Inference-Header-Content-Length": str(len(head))} if raws else {}, b"".join([head, *raws])


@contextmanager
def serving(fault: str = "") -> Iterator[str]:
    """Its URL."""
    model = Twice(fault)

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, said = model.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(said))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = handle_any

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
