"""The feature service as its clients see it: JSON, Arrow, Feast's shapes and gRPC say the same, and refuse alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pyarrow as pa
import pytest

import fivefold as ff
from fivefold.core.errors import Unavailable
from fivefold.core.project import collect
from fivefold.core.sources import Stream
from fivefold.core.types import Type
from fivefold.realtime.grpc.features import NO_TIME, column, served
from fivefold.realtime.http.features import FeatureRoutes
from fivefold.realtime.lookup.service import FeatureService
from fivefold.realtime.lookup.tables import written
from fivefold.realtime.protocols.bounds import MOST_ROWS
from fivefold.realtime.protos import features_pb2 as pb
from fivefold.realtime.protos.features_pb2_grpc import FeaturesStub
from fivefold.realtime.streams.push import Push

AT = 1_772_000_000_000_000
MOMENT = "2026-02-25T06:13:20Z"
NAMES = ["spending.count_30d", "spending.sum_amount_30d", "spending.last_amount"]
CLICKS = Stream("clicks", schema={"who": str, "n": int, "price": float}, time="at", checks=[
    ff.check("n >= 0"), ff.check("price >= 0", on_fail="quarantine"), ff.check("n < 100", on_fail="warn", name="many")])
CLICK = {"who": "c1", "n": 1, "price": 2.5, "at": "2026-02-25T06:00:00Z"}


class Kept:
    """A log in memory, which can be out of order."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.opened: list[str] = []
        self.broken = False

    def open(self, stream: Stream) -> Kept:
        self.opened.append(stream.name)
        return self

    def append(self, rows: list[dict[str, Any]]) -> None:
        if self.broken:
            raise Unavailable("the broker is gone.")
        self.rows += rows


class Service:
    """The application over HTTP without a network between, and the same service over a real gRPC channel."""

    def __init__(self, asker: Any, stub: FeaturesStub, log: Kept, features: FeatureService) -> None:
        self.asker, self.stub, self.log, self.features = asker, stub, log, features

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        status, found, _ = self.asker.send(json.dumps(body).encode(), path, **headers)
        return status, found

    def get(self, **body: Any) -> tuple[int, Any]:
        return self.post("/features/get", {"features": NAMES, "entities": [{"customer_id": "c1"}], **body})

    def refused(self, path: str, body: Any, **headers: str) -> tuple[int, str]:
        status, found = self.post(path, body, **headers)
        return status, f"{found['error']['message']} {found['error']['hint']}".strip()


@pytest.fixture
def service(shop: Any) -> Iterator[Service]:
    with shop.open() as w:
        store, log = w.online(), Kept()
        features, push = FeatureService(w, store, AT), Push(collect("shop", [CLICKS]), log.open)
        try:
            with shop.app(features=FeatureRoutes(features, push)) as asker, \
                    served(features, push, "127.0.0.1", 0) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Service(asker, FeaturesStub(channel), log, features)
        finally:
            store.close()


def predicted(service: Service, **row: Any) -> dict[str, Any]:
    return dict(service.asker.ask({"customer_id": "c1", "amount": 12.5, **row})[1]["rows"][0]["features"])


def test_features_come_in_columns_with_what_a_prediction_would_be_made_of(service: Service) -> None:
    status, found = service.get(entities=[{"customer_id": who} for who in ("c1", "nobody", None)])
    assert (status, found["as_of"]) == (200, MOMENT)
    used = predicted(service)
    for name in NAMES:
        column = found["features"][name]
        assert (column["values"][0], column["statuses"][0], column["event_times"][0]) == (
            used[name]["value"], "present", used[name]["event_time"])
        assert column["values"][1:] == [0 if "count" in name else None] * 2
        assert column["statuses"][1:] == ["absent"] * 2
        assert column["event_times"][1:] == [None, None]
    assert list(found["features"]) == NAMES
    assert [c["type"] for c in found["features"].values()] == ["int64", "float64", "float64"]
    assert list(found["made_of"]) == ["spending"]


def test_a_model_stands_for_all_its_features_the_derived_ones_too(service: Service) -> None:
    entities = [{"customer_id": "c1"}, {"customer_id": "c2"}]
    status, found = service.get(features=[], model="returned", entities=entities, request={"amount": 12.5})
    assert status == 200
    used = predicted(service)
    assert {n: c["values"][0] for n, c in found["features"].items()} == {n: f["value"] for n, f in used.items()}
    status, each = service.get(features=[], model="returned", entities=entities,
                               request=[{"amount": 12.5}, {"amount": 40.0}])
    assert each["features"]["capped"]["values"][0] == found["features"]["capped"]["values"][0]
    assert each["features"]["amount"]["values"] == [12.5, 40.0]


def test_another_moment_can_be_asked_for_as_text_or_microseconds(service: Service) -> None:
    moments = [service.get(at=at)[1]["as_of"] for at in ("2026-03-01", AT + 1, None)]
    assert moments == ["2026-03-01T00:00:00Z", "2026-02-25T06:13:20.000001Z", MOMENT]
    assert service.get(at="2026-09-01")[1]["features"]["spending.count_30d"]["values"] == [0]


def test_an_arrow_stream_has_the_same_values_with_their_types(service: Service) -> None:
    entities = [{"customer_id": who} for who in ("c1", "c2", "nobody")]
    _, found = service.get(entities=entities)

    _, content, headers = service.asker.raw(
        json.dumps({"features": NAMES, "entities": entities}).encode(), "/features/get",
        content_type="application/json", accept="application/vnd.apache.arrow.stream")
    assert headers[b"content-type"] == b"application/vnd.apache.arrow.stream"
    with pa.ipc.open_stream(content) as reader:
        table = reader.read_all()
    assert table.schema.metadata == {b"as_of": MOMENT.encode()}
    assert [table.schema.field(n).type for n in NAMES] == [pa.int64(), pa.float64(), pa.float64()]
    for name in NAMES:
        assert table[name].to_pylist() == found["features"][name]["values"]
        assert table[f"{name}__status"].to_pylist() == found["features"][name]["statuses"]
        assert table.schema.field(f"{name}__time").type == pa.timestamp("us", "UTC")
        assert table[f"{name}__time"].null_count == found["features"][name]["event_times"].count(None) == 1


@pytest.mark.parametrize(("body", "status", "says"), [
    ({"features": ["spending.last_amout"]}, 404, "no feature 'spending.last_amout' (have: spending.count_30d, "
     "spending.last_amount, spending.sum_amount_30d). Did you mean 'spending.last_amount'?"),
    ({"features": [], "model": "retuned"}, 404, "no model 'retuned' (have: returned). Did you mean 'returned'?"),
    ({"features": []}, 400, "neither features and model were named. Send"),
    ({"model": "returned"}, 400, "both features and model were named. Send"),
    ({"entities": []}, 400, "0 entities were asked about (accepted: 1 to 10000)."),
    ({"entities": [{"customer_id": "c1"}] * (MOST_ROWS + 1)}, 400, "10001 entities were asked about"),
    ({"entities": [{"customer_id": "c1"}, {"customer_id": 5}]}, 400,
     "row 1: the field 'customer_id' is 5, which is not string. Send a text, or null."),
    ({"entities": [{}]}, 400, "row 0: the field 'customer_id' is missing."),
    ({"entities": [{"customer_id": "c1", "custom": 1}]}, 400, "row 0: there is no field 'custom' (accepted: customer_id)."),
    ({"entities": {"customer_id": ["c1"]}}, 400, "the body is not what is accepted here: Expected `array`, got `object`"),
    ({"entitys": []}, 400, "the body is not what is accepted here: Object contains unknown field `entitys`"),
    ({"request": [{}, {}]}, 400, "request has 2 items and entities has 1. Send as many of each."),
    ({"at": "yesterday"}, 400, "the field 'at' is 'yesterday', which is not timestamp."),
    ({"at": "2026-02-25T06:13:19Z"}, 400, "the feature view 'spending' answers for 2026-02-25T06:13:20Z and later"),
    ({"features": [], "model": "returned", "request": {"amount": 13}}, 400, "row 0: udf:capped failed: ValueError: thirteen."),
    ({"features": NAMES * 400}, 400, "1200 features were named (accepted: 1000 at most)."),
])
def test_what_cannot_be_answered_says_why(service: Service, body: dict[str, Any], status: int, says: str) -> None:
    found, message = service.refused("/features/get", {"features": NAMES, "entities": [{"customer_id": "c1"}], **body})
    assert (found, message[: len(says)]) == (status, says)


def test_a_project_file_that_is_not_applied_is_a_conflict(shop: Any) -> None:
    shop.edit('over="30d"', 'over="9d"')
    with shop.open() as w:
        store = w.online()
        features = FeatureService(w, store, AT)
        with shop.app(features=FeatureRoutes(features, Push(w.project, None))) as asker:
            status, found = asker.ask({"features": ["spending.count_9d"], "entities": [{"customer_id": "c1"}]}, "/features/get")
        store.close()
    assert status == 409
    assert "feature_view:spending" in found["error"]["message"]


@pytest.mark.parametrize("path", ["/features/get", "/get-online-features", "/push", "/streams/clicks"])
def test_the_rules_of_the_front_hold_for_every_path(service: Service, path: str) -> None:
    send = service.asker.send
    assert send(b"{}", path, method="GET")[0] == 405
    assert send(b"{}", path, host="evil.example")[0] == 421
    assert send(b"{}", path, origin="https://evil.example")[0] == 403
    assert send(b"{}", path, content_type="text/plain")[0] == 415
    for body in (b"", b"{", b"7", b"[" * 100_000):
        assert send(body, path)[0] == 400


# ---- Feast's shapes --------------------------------------------------------------------------------------------------


def test_feast_is_answered_in_its_own_shape(service: Service) -> None:
    asked = {"features": ["spending:last_amount", "spending:count_30d"], "entities": {"customer_id": ["c1", "nobody"]}}
    status, found = service.post("/get-online-features", asked, content_type="")
    used = predicted(service)
    amount, count = used["spending.last_amount"], used["spending.count_30d"]
    never = "1970-01-01T00:00:00Z"
    assert status == 200
    assert found == {
        "metadata": {"feature_names": ["customer_id", "last_amount", "count_30d"]},
        "results": [
            {"values": ["c1", "nobody"], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": [never, never]},
            {"values": [amount["value"], None], "statuses": ["PRESENT", "NOT_FOUND"],
             "event_timestamps": [amount["event_time"], never]},
            {"values": [count["value"], 0], "statuses": ["PRESENT", "NOT_FOUND"],
             "event_timestamps": [count["event_time"], never]}]}


def test_feast_s_full_names_and_feature_services_are_known(service: Service) -> None:
    asked = {"features": ["spending:last_amount"], "entities": {"customer_id": ["c1"]}, "full_feature_names": True}
    assert service.post("/get-online-features", asked)[1]["metadata"]["feature_names"] == [
        "customer_id", "spending__last_amount"]
    asked = {"feature_service": "returned", "entities": {"customer_id": ["c1"], "amount": [12.5]}}
    status, found = service.post("/get-online-features", asked)
    assert (status, found["metadata"]["feature_names"]) == (200, [
        "customer_id", "count_30d", "sum_amount_30d", "last_amount", "amount", "ratio", "capped"])
    values = dict(zip(found["metadata"]["feature_names"], [r["values"] for r in found["results"]], strict=True))
    assert values["ratio"] == [predicted(service)["ratio"]["value"]]


@pytest.mark.parametrize(("body", "status", "says"), [
    ({"features": ["spending:last"], "entities": {"customer_id": ["c1"]}}, 404, "no feature 'spending.last'"),
    ({"features": ["spending:last_amount"], "entities": {"customer_id": []}}, 400, "0 rows are in entities"),
    ({"features": ["spending:last_amount"], "entities": {"customer_id": ["a"], "x": [1, 2]}}, 400,
     "entities.x has 2 items and entities.customer_id has 1."),
    ({"features": ["spending:last_amount"], "entities": {"customer_id": [7]}}, 400, "row 0: the field 'customer_id' is 7"),
    ({"features": ["spending:last_amount"]}, 400, "the body is not what is accepted here: Object missing required field"),
])
def test_what_feast_asks_wrongly_is_refused(service: Service, body: Any, status: int, says: str) -> None:
    found, message = service.refused("/get-online-features", body)
    assert (found, message[: len(says)]) == (status, says)


def test_feast_s_push_appends_all_rows_or_none(service: Service) -> None:
    frame = {k: [v, v] for k, v in CLICK.items()}
    assert service.post("/push", {"push_source_name": "clicks", "df": frame, "to": "online"}) == (200, None)
    assert service.log.rows == [{"at": 1_771_999_200_000_000, "who": "c1", "n": 1, "price": 2.5}] * 2
    for change, says in (({"n": [1, -1]}, "row 1: the row breaks the check 'n >= 0': n = -1. Nothing was taken."),
                         ({"price": ["x", 1.0]}, "row 0: the field 'price' is 'x', which is not float64."),
                         ({"n": [1]}, "df.n has 1 items and df.who has 2.")):
        status, message = service.refused("/push", {"push_source_name": "clicks", "df": {**frame, **change}})
        assert (status, message[: len(says)]) == (400, says)
    assert service.refused("/push", {"push_source_name": "clicks", "df": frame, "to": "offline"})[0] == 501
    assert service.refused("/push", {"push_source_name": "click", "df": frame}) == (
        404, "no stream 'click' (have: clicks). Did you mean 'clicks'?")
    assert len(service.log.rows) == 2


# ---- events ----------------------------------------------------------------------------------------------------------


def test_each_event_is_accepted_or_told_what_is_wrong_with_it(service: Service) -> None:
    status, found = service.post("/streams/clicks", [
        CLICK, 7, {**CLICK, "n": "x"}, {**CLICK, "n": -1}, {**CLICK, "price": -1}, {**CLICK, "at": None},
        {**CLICK, "n": 500}, {**CLICK, "extra": 1}, {**CLICK, "who": None, "price": 3}])
    assert (status, found["accepted"]) == (200, 3)
    assert [r.get("error", {}).get("message") for r in found["rows"]] == [
        None, "a row is an object, not 7.", "the field 'n' is 'x', which is not int64.",
        "the row breaks the check 'n >= 0': n = -1.", "the row breaks the check 'price >= 0': price = -1.0.",
        "the field 'at' is null, and it is the event's time.", None,
        "there is no field 'extra' (accepted: at, who, n, price).", None]
    assert found["rows"][6] == {"accepted": True, "warnings": ["the check 'many' does not hold"]}
    assert [(r["who"], r["n"], r["price"]) for r in service.log.rows] == [("c1", 1, 2.5), ("c1", 500, 2.5), (None, 1, 3.0)]
    service.post("/streams/clicks", [CLICK])
    assert service.log.opened == ["clicks"], "a log is opened once"


def test_events_that_no_log_takes_are_unavailable(service: Service, shop: Any) -> None:
    service.log.broken = True
    assert service.refused("/streams/clicks", [CLICK]) == (503, "the broker is gone.")
    assert service.refused("/streams/clicks", []) == (400, "0 events were sent (accepted: 1 to 10000).")
    assert service.refused("/streams/clicks", [CLICK] * (MOST_ROWS + 1))[0] == 400
    assert service.refused("/streams/nothing", [CLICK])[0] == 404
    with shop.app(features=FeatureRoutes(service.features, Push(collect("shop", [CLICKS]), None))) as asker:
        assert asker.ask([CLICK], "/streams/clicks")[0] == 501


# ---- gRPC ------------------------------------------------------------------------------------------------------------


def keys(*names: str | None) -> list[Any]:
    return [column("customer_id", Type.STRING, list(names))]


def code(service: Service, call: str, request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as e:
        getattr(service.stub, call)(request, timeout=20)
    return e.value.code().name, e.value.details()


def test_grpc_answers_what_http_answers(service: Service) -> None:
    _, found = service.get(entities=[{"customer_id": who} for who in ("c1", "nobody", None)])
    answer = service.stub.Get(pb.GetRequest(features=NAMES, rows=keys("c1", "nobody", None)), timeout=20)
    assert answer.as_of == AT
    for each in answer.features:
        wanted = found["features"][each.column.name]
        values = list(getattr(each.column, each.column.WhichOneof("values")).values)
        assert [None if i in each.column.nulls else v for i, v in enumerate(values)] == wanted["values"]
        assert [pb.Status.Name(s).lower() for s in each.statuses] == wanted["statuses"]
        assert [t == NO_TIME for t in each.event_times] == [t is None for t in wanted["event_times"]]
    assert [c.column.WhichOneof("values") for c in answer.features] == ["ints", "doubles", "doubles"]


def test_grpc_takes_and_gives_arrow(service: Service) -> None:
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        rows = written(pa.table({"customer_id": pa.array(["c1", "c2", None]).cast(kind)}))
        answer = service.stub.Get(pb.GetRequest(features=NAMES, rows_arrow=rows, arrow=True, at=AT + 5), timeout=20)
        with pa.ipc.open_stream(answer.arrow) as reader:
            table = reader.read_all()
        assert (answer.as_of, len(answer.features), table.num_rows) == (AT + 5, 0, 3)
        assert table["spending.last_amount"][0].as_py() == predicted(service)["spending.last_amount"]["value"]


def test_grpc_refuses_with_status_codes(service: Service) -> None:
    one = keys("c1")
    assert code(service, "Get", pb.GetRequest(features=["spending.last_amout"], rows=one)) == (
        "NOT_FOUND", "no feature 'spending.last_amout' (have: spending.count_30d, spending.last_amount, "
        "spending.sum_amount_30d). Did you mean 'spending.last_amount'?")
    for request, says in (
        (pb.GetRequest(features=NAMES), "0 rows were sent (accepted: 1 to 10000)."),
        (pb.GetRequest(features=NAMES, rows=keys(*["c1"] * (MOST_ROWS + 1))), "10001 rows were sent"),
        (pb.GetRequest(features=NAMES, rows=[column("customer_id", Type.INT64, [1])]),
         "row 0: the field 'customer_id' is 1, which is not string."),
        (pb.GetRequest(features=NAMES, rows=one * 2), "the column 'customer_id' is there twice."),
        (pb.GetRequest(features=NAMES, rows=[pb.Column(name="customer_id")]), "the column 'customer_id' has no values."),
        (pb.GetRequest(features=NAMES, rows=[pb.Column(name="customer_id", texts=pb.Texts(values=["a"]), nulls=[3])]),
         "the column 'customer_id': null 3 of 1 values."),
        (pb.GetRequest(features=NAMES, rows=[*one, column("x", Type.INT64, [1, 2])]),
         "the columns have different lengths"),
        (pb.GetRequest(features=NAMES, rows_arrow=b"nonsense"), "the rows are no Arrow IPC stream of plain columns"),
        (pb.GetRequest(features=NAMES, rows_arrow=b"x", rows=one), "rows and rows_arrow were both sent."),
        (pb.GetRequest(features=NAMES, rows=one, at=AT - 1), "the feature view 'spending' answers for"),
        (pb.GetRequest(rows=one), "neither features and model were named."),
    ):
        found, message = code(service, "Get", request)
        assert (found, message[: len(says)]) == ("INVALID_ARGUMENT", says)
    assert code(service, "Get", pb.GetRequest(features=["x" * (9 << 20)], rows=one))[0] == "RESOURCE_EXHAUSTED"


def test_grpc_pushes_events_row_by_row(service: Service) -> None:
    types = Type
    rows = [column("who", types.STRING, ["c1", None]), column("n", types.INT64, [1, -1]),
            column("price", types.FLOAT64, [2.5, 1.0]), column("at", types.TIMESTAMP, [AT, AT])]
    answer = service.stub.Push(pb.PushRequest(stream="clicks", rows=rows), timeout=20)
    assert answer.accepted == 1
    assert [(e.row, e.message) for e in answer.errors] == [(1, "the row breaks the check 'n >= 0': n = -1.")]
    sent = pa.table({"who": ["c9"], "n": [2], "price": [1.5], "at": pa.array([AT], pa.timestamp("us", "UTC"))})
    assert service.stub.Push(pb.PushRequest(stream="clicks", rows_arrow=written(sent)), timeout=20).accepted == 1
    assert service.log.rows == [{"at": AT, "who": "c1", "n": 1, "price": 2.5}, {"at": AT, "who": "c9", "n": 2, "price": 1.5}]
    service.log.broken = True
    assert code(service, "Push", pb.PushRequest(stream="clicks", rows=rows)) == ("UNAVAILABLE", "the broker is gone.")
    assert code(service, "Push", pb.PushRequest(stream="click", rows=rows))[0] == "NOT_FOUND"


# ---- the processes ---------------------------------------------------------------------------------------------------


def test_one_process_serves_http_and_grpc_and_the_command_line_says_the_same(shop: Any) -> None:
    with shop.serve("--grpc-port", "0") as server:
        where = server.said.split("serving gRPC on ")[1].split()[0]
        asked = {"features": NAMES, "entities": [{"customer_id": "c1"}]}
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
            over_http = client.post("/features/get", json=asked).json()["features"]
            assert client.post("/streams/clicks", json=[CLICK]).status_code == 404
        with grpc.insecure_channel(where) as channel:
            answer = FeaturesStub(channel).Get(pb.GetRequest(features=NAMES, rows=keys("c1")), timeout=20)
        assert server.stop()[0] == 0
    assert [c.column.doubles.values[0] for c in answer.features[1:]] == [over_http[n]["values"][0] for n in NAMES[1:]]
    said = shop.run("get", *NAMES, "--entity", "customer_id=c1", "--at", MOMENT, "--json")
    found = json.loads(said.stdout)
    assert found["as_of"] == MOMENT
    assert {r["feature"]: r["value"] for r in found["features"]} == {n: c["values"][0] for n, c in over_http.items()}
    shown = shop.run("get", NAMES[2], "--entity", "customer_id=c1", "--at", MOMENT).stdout
    assert "spending.last_amount" in shown
    assert "present" in shown


@pytest.mark.parametrize(("words", "says"), [
    (["spending.last", "--entity", "customer_id=c1"], "error: no feature 'spending.last'"),
    (["spending.last_amount", "--entity", "customer_id"], "error: --entity 'customer_id' is not KEY=VALUE."),
    (["spending.last_amount"], "error: row 0: the field 'customer_id' is missing."),
    (["spending.last_amount", "--entity", "customer_id=c1", "--at", "2020-01-01"], "error: the feature view 'spending' answers"),
])
def test_the_command_line_says_what_is_wrong(shop: Any, words: list[str], says: str) -> None:
    found = shop.run("get", *words)
    assert (found.returncode, found.stderr[: len(says)]) == (1, says)


def test_the_generated_code_is_what_its_description_says(tmp_path: Path) -> None:
    from grpc_tools import protoc

    import fivefold

    root = Path(fivefold.__file__).parent.parent
    assert protoc.main(["protoc", f"-I{root}", f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}",
                        f"--pyi_out={tmp_path}", str(root / "fivefold/realtime/protos/features.proto")]) == 0
    for made in tmp_path.rglob("features_pb2*"):
        assert made.read_text() == (root / made.relative_to(tmp_path)).read_text()
