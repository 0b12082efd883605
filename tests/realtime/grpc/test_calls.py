"""gRPC of `fivefold serve` as a process: inference and features on one port, told to stop, on a port that is taken."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from fivefold.realtime.grpc.features import SERVICE as FEATURES
from fivefold.realtime.grpc.oip import SERVICE
from fivefold.realtime.protos import features_pb2, inference_pb2


def request(amount: float = 12.5, **more: Any) -> Any:
    made = inference_pb2.ModelInferRequest(model_name="returned", **more)
    made.inputs.add(name="customer_id", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"c1")
    made.inputs.add(name="amount", datatype="FP64", shape=[1]).contents.fp64_contents.append(amount)
    return made


class Client:
    """Calls to one server."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.infer = self.channel.unary_unary(
            f"{SERVICE}ModelInfer", inference_pb2.ModelInferRequest.SerializeToString, inference_pb2.ModelInferResponse.FromString)
        self.ready = self.channel.unary_unary(
            f"{SERVICE}ServerReady", inference_pb2.ServerReadyRequest.SerializeToString, inference_pb2.ServerReadyResponse.FromString)
        self.stream = self.channel.stream_stream(
            f"{SERVICE}ModelStreamInfer", inference_pb2.ModelInferRequest.SerializeToString,
            inference_pb2.ModelStreamInferResponse.FromString)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()


def test_inference_and_features_share_a_port_and_what_is_not_there_is_unimplemented(shop: Any) -> None:
    with shop.serve("--grpc-port", "0") as server, Client(server.grpc) as client:
        found = client.infer(request()).outputs[0].contents.fp64_contents[0]
        assert found == server.ask()[1]["rows"][0]["prediction"]
        get = client.channel.unary_unary(
            f"{FEATURES}Get", features_pb2.GetRequest.SerializeToString, features_pb2.GetResponse.FromString)
        rows = [features_pb2.Column(name="customer_id", texts=features_pb2.Texts(values=["c1"]))]
        assert get(features_pb2.GetRequest(features=["spending.count_30d"], rows=rows)).features[0].column.ints.values[0] > 0
        with pytest.raises(grpc.RpcError) as missing:
            client.channel.unary_unary(f"{SERVICE}Nothing")(b"")
        assert missing.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError) as refused:
            get(features_pb2.GetRequest(features=["nothing"], rows=rows))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as late:
            client.infer(request(parameters={"timeout": inference_pb2.InferParameter(int64_param=1)}))
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_told_to_stop_it_answers_what_was_asked(shop: Any) -> None:
    failed: list[Any] = []
    answered: list[float] = []
    over = threading.Event()

    def ask(client: Client) -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                client.infer(request(), timeout=10)
                answered.append(began)
            except grpc.RpcError as e:
                failed.append((began, e.code()))
                return

    with shop.serve("--grpc-port", "0") as server, Client(server.grpc) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(3)]
        for each in threads:
            each.start()
        until = time.monotonic() + 10
        while len(answered) < 30:
            assert time.monotonic() < until, failed
            time.sleep(0.01)
        told = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert not client.ready(inference_pb2.ServerReadyRequest()).ready or time.monotonic() < told + 0.4
        assert server.process.wait(20) == 0
        over.set()
        for each in threads:
            each.join()
    assert [f for f in failed if f[0] < told + 0.4] == []
    assert {code for _, code in failed} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_ctrl_c_does_not_wait_for_a_stream_that_is_idle(shop: Any) -> None:
    never = threading.Event()

    def requests() -> Iterator[Any]:
        yield request()
        never.wait(20)

    with shop.serve("--grpc-port", "0") as server, Client(server.grpc) as client:
        answers = client.stream(requests())
        assert next(answers).infer_response.model_name == "returned"
        began = time.monotonic()
        assert server.stop(signal.SIGINT)[0] == 0
        assert time.monotonic() - began < 5
        never.set()


def test_a_port_that_is_taken_is_named(shop: Any) -> None:
    with shop.serve("--grpc-port", "0") as server:
        port = server.grpc.rpartition(":")[2]
        made = shop.run("serve", "--port", "0", "--grpc-port", port)
    assert made.returncode == 1
    assert f"cannot serve gRPC on 127.0.0.1:{port}" in made.stderr
    assert "Try another --grpc-port." in made.stderr
