"""What the Open Inference Protocol tells of a server and of its models, as plain data for JSON and for gRPC alike."""

from __future__ import annotations

from typing import Any

import msgspec

from fivefold import __version__
from fivefold.core.types import Type
from fivefold.realtime.protocols.batch import Signature
from fivefold.realtime.protocols.oip import PROBABILITIES, outputs
from fivefold.realtime.protocols.tensors import DATATYPE

EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics")
_CONFIG_NAMES = {"BYTES": "TYPE_STRING"}


class Counts(msgspec.Struct):
    """What was asked of an endpoint since it started: requests and rows; `nanoseconds` are those of answers."""

    answered: int = 0
    failed: int = 0
    rows: int = 0
    nanoseconds: int = 0
    failed_nanoseconds: int = 0
    missed: int = 0
    """Requests whose time was over before they were answered, or that were refused for lack of room."""
    last: int = 0
    """When the last row was answered, in microseconds since 1970 UTC."""


def server() -> dict[str, Any]:
    """The metadata of the server; the extensions are those that work."""
    return {"name": "fivefold", "version": __version__, "extensions": list(EXTENSIONS)}


def model(signature: Signature) -> dict[str, Any]:
    """The metadata of an endpoint: -1 is the number of rows."""
    told: dict[str, Any] = {
        "name": signature.endpoint,
        "versions": [str(signature.version)],
        "platform": signature.platform,
        "inputs": [{"name": n, "datatype": DATATYPE[k], "shape": [-1]} for n, k in signature.fields.items()],
        "outputs": [{"name": o.name, "datatype": o.datatype, "shape": list(o.shape)} for o in outputs(signature)],
        "parameters": parameters(signature),
    }
    return told


def parameters(signature: Signature) -> dict[str, str]:
    """What a shape does not say: the task, what nulls and times look like, and the classes of probabilities."""
    told = {"task": signature.task, "null": "NaN in FP tensors; null in JSON data"}
    if signature.task == "binary":
        told["prediction"] = "the probability of true"
    times = [n for n, k in signature.fields.items() if k is Type.TIMESTAMP]
    if times:
        told["timestamps"] = f"{', '.join(times)}: INT64 microseconds since 1970 UTC, or BYTES in ISO 8601"
    if signature.classes is not None:
        told[f"{PROBABILITIES}.classes"] = msgspec.json.encode(signature.classes).decode()
    return told


def config(signature: Signature) -> dict[str, Any]:
    """The configuration of an endpoint in Triton's words, as far as they mean something here."""
    return {
        "name": signature.endpoint,
        "platform": signature.platform,
        "backend": "fivefold",
        "max_batch_size": 0,
        "input": [
            {"name": n, "data_type": _config_name(DATATYPE[k]), "dims": [-1]} for n, k in signature.fields.items()
        ],
        "output": [
            {"name": o.name, "data_type": _config_name(o.datatype), "dims": list(o.shape)} for o in outputs(signature)
        ],
    }


def _config_name(datatype: str) -> str:
    return _CONFIG_NAMES.get(datatype, f"TYPE_{datatype}")


def statistics(signature: Signature, counts: Counts) -> dict[str, Any]:
    """What was asked of an endpoint since it started, over all formats; durations are in nanoseconds."""
    return {
        "name": signature.endpoint,
        "version": str(signature.version),
        "last_inference": counts.last // 1000,
        "inference_count": counts.rows,
        "execution_count": counts.answered,
        "inference_stats": {
            "success": {"count": counts.answered, "ns": counts.nanoseconds},
            "fail": {"count": counts.failed, "ns": counts.failed_nanoseconds},
        },
    }


def index_entry(name: str, signature: Signature | None, reason: str) -> dict[str, str]:
    """An endpoint as the repository index lists it; without a signature it is not ready, for a reason."""
    if signature is None:
        return {"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason}
    return {"name": name, "version": str(signature.version), "state": "READY", "reason": ""}
