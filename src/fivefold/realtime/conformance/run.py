"""All questions in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from fivefold.core.errors import NotFound, missing_extra
from fivefold.realtime.conformance import binary_checks, http_checks, refusal_checks
from fivefold.realtime.conformance.asking import Http, Skipped, Wrong, model_path
from fivefold.realtime.conformance.sample import Sample, sample

PASS, FAIL, SKIP = "pass", "FAIL", "skip"

_SERVER: tuple[Callable[[Http], None], ...] = (http_checks.live, http_checks.ready, http_checks.server_metadata)
_MODEL: tuple[Callable[[Http, Sample], None], ...] = (
    http_checks.model_ready,
    http_checks.model_metadata,
    http_checks.versions,
    http_checks.unknown_version,
    http_checks.infer,
    http_checks.without_content_type,
    http_checks.request_id,
    http_checks.nested,
    http_checks.chosen_outputs,
    binary_checks.binary_inputs,
    binary_checks.binary_outputs,
    binary_checks.broken_binary,
    binary_checks.compressed,
    refusal_checks.unknown_model,
    refusal_checks.unknown_output,
    refusal_checks.unknown_input,
    refusal_checks.missing_input,
    refusal_checks.wrong_datatype,
    refusal_checks.wrong_shape,
    refusal_checks.odd_shapes,
    refusal_checks.no_json,
    refusal_checks.other_verbs,
    refusal_checks.still_well,
)


class Result(NamedTuple):
    """What came of a check: pass, FAIL or skip, and why."""

    check: str
    outcome: str
    why: str = ""


def run(
    url: str, model: str = "", grpc_address: str = "", inputs: Sequence[Mapping[str, Any]] = (), token: str = ""
) -> Iterator[Result]:
    """The result of each check of a server, as it is known; `inputs` are JSON tensors that the model answers,
    `token` is sent as a bearer token.

    Without a model it is the first of the repository index. Raises NotFound when there is none to be found, Invalid for
    what is no URL, Unsupported when gRPC is to be checked and not installed.
    """
    http = Http(url, token)
    for check in _SERVER:
        yield _result(check, partial(check, http))
    model = model or _first(http)
    try:
        asked = sample(http.told("GET", model_path(model)), inputs)
    except Wrong as e:
        yield Result(f"metadata of {model}", FAIL, f"{e}; nothing more can be asked")
        return
    for each in _MODEL:
        yield _result(each, partial(each, http, asked))
    if grpc_address:
        yield from _over_grpc(http, grpc_address, asked, token)


def _over_grpc(http: Http, address: str, asked: Sample, token: str) -> Iterator[Result]:
    try:
        from fivefold.realtime.conformance import grpc_checks as checks
    except ImportError:
        raise missing_extra("grpcio", "grpc", "checking gRPC") from None
    with checks.connected(address, token) as rpc:
        for check in (checks.health, checks.metadata, checks.raw, checks.typed, checks.refusals, checks.stream):
            yield _result(check, partial(check, http, rpc, asked))


def _result(check: Any, ask: Callable[[], None]) -> Result:
    name = str(check.__doc__)
    try:
        ask()
    except Wrong as e:
        return Result(name, FAIL, str(e))
    except Skipped as e:
        return Result(name, SKIP, str(e))
    except Exception as e:  # a server that is wrong may send anything at all
        return Result(name, FAIL, f"the answer has a shape of its own ({type(e).__name__}: {e})")
    return Result(name, PASS)


def _first(http: Http) -> str:
    try:
        models = http.told("POST", "/v2/repository/index")
        return next(str(m["name"]) for m in models if m.get("state", "READY") == "READY")
    except (Wrong, StopIteration, TypeError, KeyError, AttributeError):
        raise NotFound(
            "the server lists no model that is ready.", hint="Name one: fivefold conformance URL --model MODEL."
        ) from None
