"""Triton's own client, unmodified, over HTTP and gRPC, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from tritonclient.utils import InferenceServerException

ROWS: list[dict[str, Any]] = [{"customer_id": f"c{i % 9}", "amount": 0.1 + i} for i in range(300)]
WHATS = [{"customer_id": f"c{i}", "order_id": 10**15 + i, "vip": i % 2 == 0, "shop": f"s{i}ü"} for i in range(7)]
TYPES = {"customer_id": ("BYTES", np.object_), "amount": ("FP64", np.float64), "order_id": ("INT64", np.int64),
         "vip": ("BOOL", np.bool_), "shop": ("BYTES", np.object_)}


def inputs(triton: Any, rows: list[dict[str, Any]], **how: Any) -> list[Any]:
    made = []
    for name in rows[0]:
        datatype, kind = TYPES[name]
        tensor = triton.InferInput(name, [len(rows)], datatype)
        tensor.set_data_from_numpy(np.array([r[name] for r in rows], kind), **how)
        made.append(tensor)
    return made


@pytest.fixture
def http(server: Any) -> Any:
    with triton_http.InferenceServerClient(f"localhost:{server.port}") as client:
        yield client


@pytest.fixture
def rpc(server: Any) -> Any:
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        yield client


@pytest.fixture
def expected(server: Any) -> Callable[[str, list[dict[str, Any]]], list[Any]]:
    def ask(endpoint: str, rows: list[dict[str, Any]]) -> list[Any]:
        status, found = server.ask({"rows": rows}, f"/predict/{endpoint}")
        assert status == 200
        return [r["prediction"] for r in found["rows"]]

    return ask


def test_health_and_metadata(http: Any, rpc: Any) -> None:
    for client in (http, rpc):
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("returned")
        assert client.is_model_ready("what", "1")
    assert not http.is_model_ready("returned", "2")
    assert not rpc.is_model_ready("returned", "2")
    assert not http.is_model_ready("nothing")
    told = http.get_server_metadata()
    assert (told["name"], "binary_tensor_data" in told["extensions"]) == ("fivefold", True)
    assert rpc.get_server_metadata(as_json=True)["extensions"] == told["extensions"]
    model = http.get_model_metadata("what")
    assert model["inputs"] == [{"name": n, "datatype": TYPES[n][0], "shape": [-1]} for n in WHATS[0]]
    assert model["outputs"] == [{"name": "prediction", "datatype": "BYTES", "shape": [-1]},
                                {"name": "probabilities", "datatype": "FP64", "shape": [-1, 3]}]
    over = rpc.get_model_metadata("what", "1")
    assert [(i.name, i.datatype, list(i.shape)) for i in over.inputs] == [
        (i["name"], i["datatype"], i["shape"]) for i in model["inputs"]]
    assert (over.name, list(over.versions), over.platform) == ("what", ["1"], model["platform"])


def test_config_index_and_statistics(http: Any, rpc: Any) -> None:
    config = http.get_model_config("returned")
    assert [i["data_type"] for i in config["input"]] == ["TYPE_STRING", "TYPE_FP64"]
    assert rpc.get_model_config("returned", as_json=True)["config"]["output"] == [
        {"name": "prediction", "data_type": "TYPE_FP64", "dims": ["-1"]}]
    index = http.get_model_repository_index()
    assert index == [{"name": n, "version": "1", "state": "READY", "reason": ""} for n in ("returned", "what", "offer")]
    assert [m.name for m in rpc.get_model_repository_index().models] == ["returned", "what", "offer"]
    before = http.get_inference_statistics("returned")["model_stats"][0]["inference_count"]
    http.infer("returned", inputs(triton_http, ROWS[:3]))
    assert http.get_inference_statistics("returned")["model_stats"][0]["inference_count"] == before + 3
    assert {m.name for m in rpc.get_inference_statistics().model_stats} == {"returned", "what", "offer"}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("asked", [None, True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_http_infer(http: Any, expected: Any, binary: bool, asked: bool | None, packed: str | None) -> None:
    wanted = None if asked is None else [triton_http.InferRequestedOutput("prediction", binary_data=asked)]
    found = http.infer("returned", inputs(triton_http, ROWS, binary_data=binary), outputs=wanted, request_id="r7",
                       request_compression_algorithm=packed, response_compression_algorithm=packed)
    assert found.get_response()["id"] == "r7"
    assert found.get_response()["model_version"] == "1"
    assert found.as_numpy("prediction").tolist() == expected("returned", ROWS)


def test_a_multiclass_model_gives_classes_and_probabilities(http: Any, rpc: Any, expected: Any) -> None:
    said = expected("what", WHATS)
    classes = sorted(said[0])
    for client, triton in ((http, triton_http), (rpc, triton_grpc)):
        found = client.infer("what", inputs(triton, WHATS), model_version="1")
        assert found.as_numpy("probabilities").tolist() == [[p[c] for c in classes] for p in said]
        assert [v.decode() for v in found.as_numpy("prediction")] == [max(p, key=p.get) for p in said]
        only = client.infer("what", inputs(triton, WHATS), outputs=[triton.InferRequestedOutput("probabilities")])
        assert only.as_numpy("prediction") is None
        assert only.as_numpy("probabilities").shape == (7, 3)


def test_shapes_of_one_column_and_narrower_numbers(http: Any, expected: Any) -> None:
    names = triton_http.InferInput("customer_id", [2, 1], "BYTES")
    names.set_data_from_numpy(np.array([["c1"], ["c2"]], np.object_))
    for datatype, kind in (("FP32", np.float32), ("INT16", np.int16), ("UINT8", np.uint8), ("FP16", np.float16)):
        amounts = triton_http.InferInput("amount", [2, 1], datatype)
        amounts.set_data_from_numpy(np.array([[3], [4]], kind))
        found = http.infer("returned", [names, amounts]).as_numpy("prediction").tolist()
        assert found == expected("returned", [{"customer_id": "c1", "amount": 3}, {"customer_id": "c2", "amount": 4}])


def test_nan_is_null(http: Any, rpc: Any, expected: Any) -> None:
    rows = [{"customer_id": "c1", "amount": float("nan")}, {"customer_id": "c1", "amount": -0.0}]
    said = expected("returned", [{**r, "amount": None if i == 0 else 0.0} for i, r in enumerate(rows)])
    assert http.infer("returned", inputs(triton_http, rows)).as_numpy("prediction").tolist() == said
    assert rpc.infer("returned", inputs(triton_grpc, rows)).as_numpy("prediction").tolist() == said


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_grpc_infer(rpc: Any, expected: Any, packed: str | None) -> None:
    found = rpc.infer("returned", inputs(triton_grpc, ROWS), request_id="r8", compression_algorithm=packed,
                      client_timeout=10, timeout=5_000_000, priority=2)
    assert found.get_response().id == "r8"
    assert found.as_numpy("prediction").tolist() == expected("returned", ROWS)


def test_grpc_streams_answer_each_request_and_go_on_after_an_error(rpc: Any, expected: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    rpc.start_stream(lambda result, error: answers.put((result, error)))
    for i in range(20):
        rpc.async_stream_infer("nothing" if i == 5 else "returned", inputs(triton_grpc, ROWS[i:i + 3]), request_id=str(i))
    got = [answers.get(timeout=20) for _ in range(20)]
    rpc.stop_stream()
    assert [i for i, (_, error) in enumerate(got) if error is not None] == [5]
    assert "no model 'nothing' (have: offer, returned, what)." in str(got[5][1])
    said = expected("returned", ROWS[:30])
    for i, (result, _) in enumerate(got):
        if i != 5:
            assert result.get_response().id == str(i)
            assert result.as_numpy("prediction").tolist() == said[i:i + 3]


def test_callbacks_and_threads(http: Any, rpc: Any, expected: Any) -> None:
    said = expected("returned", ROWS)
    waiting = [http.async_infer("returned", inputs(triton_http, ROWS[i:i + 2])) for i in range(0, 20, 2)]
    assert [v for w in waiting for v in w.get_result().as_numpy("prediction").tolist()] == said[:20]
    answers: queue.Queue[Any] = queue.Queue()
    rpc.async_infer("returned", inputs(triton_grpc, ROWS), lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=20)
    assert error is None
    assert result.as_numpy("prediction").tolist() == said


def test_http_aio(server: Any, expected: Any) -> None:
    async def ask() -> list[Any]:
        async with triton_http_aio.InferenceServerClient(f"localhost:{server.port}") as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("returned"))["name"] == "returned"
            # this version of the client forgets to import what it would compress its requests with
            made = [client.infer("returned", inputs(triton_http_aio, ROWS), response_compression_algorithm=a)
                    for a in (None, "gzip", "deflate")]
            return [r.as_numpy("prediction").tolist() for r in await asyncio.gather(*made)]

    assert asyncio.run(ask()) == [expected("returned", ROWS)] * 3


def test_grpc_aio(server: Any, expected: Any) -> None:
    async def ask() -> tuple[list[Any], list[Any]]:
        async with triton_grpc_aio.InferenceServerClient(server.grpc) as client:
            assert await client.is_server_ready()
            one = await client.infer("returned", inputs(triton_grpc_aio, ROWS))

            async def requests() -> Any:
                for i in range(4):
                    yield {"model_name": "returned", "inputs": inputs(triton_grpc_aio, ROWS[i:i + 1])}

            many = [r.as_numpy("prediction")[0] async for r, error in client.stream_infer(requests()) if error is None]
            return one.as_numpy("prediction").tolist(), many

    one, many = asyncio.run(ask())
    said = expected("returned", ROWS)
    assert (one, many) == (said, said[:4])


WRONG = [
    ("an unknown model", "nothing", ROWS[:1], {}, "no model 'nothing' (have: offer, returned, what).", "StatusCode.NOT_FOUND"),
    ("a version that does not answer", "returned", ROWS[:1], {"model_version": "9"}, "does not serve the version '9'",
     "StatusCode.NOT_FOUND"),
    ("a missing input", "returned", [{"amount": 1.0}], {}, "the input 'customer_id' is missing.",
     "StatusCode.INVALID_ARGUMENT"),
    ("a row that breaks a check", "returned", [ROWS[0], {**ROWS[0], "amount": -1.0}], {},
     "row 1: the row breaks the check 'amount >= 0'", "StatusCode.INVALID_ARGUMENT"),
    ("a sequence", "returned", ROWS[:1], {"sequence_id": 5}, "rows are answered one by one", "StatusCode.UNIMPLEMENTED"),
]


@pytest.mark.parametrize(("_what", "model", "rows", "more", "says", "code"), WRONG, ids=[w[0] for w in WRONG])
def test_errors_reach_the_client(
    http: Any, rpc: Any, _what: str, model: str, rows: Any, more: Any, says: str, code: str
) -> None:
    with pytest.raises(InferenceServerException) as found:
        http.infer(model, inputs(triton_http, rows), **more)
    assert says in found.value.message()
    assert found.value.status() == {"StatusCode.NOT_FOUND": "404", "StatusCode.UNIMPLEMENTED": "501"}.get(code, "400")
    with pytest.raises(InferenceServerException) as over:
        rpc.infer(model, inputs(triton_grpc, rows), **more)
    assert says in over.value.message()
    assert over.value.status() == code


def test_what_is_not_supported_says_so(http: Any, rpc: Any) -> None:
    for ask in (http.get_system_shared_memory_status, http.get_cuda_shared_memory_status, http.get_trace_settings,
                http.get_log_settings, lambda: http.load_model("returned"), lambda: http.unload_model("returned")):
        with pytest.raises(InferenceServerException) as found:
            ask()
        assert found.value.status() == "501"
    for ask in (rpc.get_system_shared_memory_status, rpc.get_trace_settings, rpc.get_log_settings,
                lambda: rpc.load_model("returned")):
        with pytest.raises(InferenceServerException) as over:
            ask()
        assert over.value.status() == "StatusCode.UNIMPLEMENTED"


def test_a_message_beyond_the_bound_is_refused(rpc: Any, http: Any) -> None:
    big = [{"customer_id": "x" * (9 << 20), "amount": 1.0}]
    with pytest.raises(InferenceServerException) as over:
        rpc.infer("returned", inputs(triton_grpc, big))
    assert over.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
    with pytest.raises(InferenceServerException) as found:
        http.infer("returned", inputs(triton_http, big), request_compression_algorithm="gzip")
    assert found.value.status() == "413"
    assert "decompresses to more than 8388608 bytes" in found.value.message()
