"""The messages of the Open Inference Protocol's gRPC form: raw or typed contents in, the same kind back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fivefold.core.errors import Invalid, Unsupported
from fivefold.features.fields import shown
from fivefold.realtime.protocols import oip_about
from fivefold.realtime.protocols.batch import Batch, Outcome, Signature
from fivefold.realtime.protocols.oip import Values, batch, require_count, tensors
from fivefold.realtime.protocols.tensors import fits, from_raw, require_datatype, rows_of_shape, to_raw
from fivefold.realtime.protos import inference_pb2 as pb

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def decode(request: Any, signature: Signature, started: int) -> Batch:
    """The batch of a ModelInferRequest.

    Raises Invalid, naming the tensor, for what does not hold together, NotFound for an output that there is not,
    Unsupported for sequences, shared memory and classification.
    """
    require_count(len(request.inputs), "inputs")
    require_count(len(request.outputs), "outputs")
    raws = request.raw_input_contents
    if raws and len(raws) != len(request.inputs):
        raise Invalid(f"there are {len(raws)} raw_input_contents for {len(request.inputs)} inputs.")
    inputs: dict[str, Values] = {}
    rows: dict[str, int] = {}
    for place, tensor in enumerate(request.inputs):
        name, kind = tensor.name, signature.fields.get(tensor.name)
        if name in inputs:
            raise Invalid(f"the input {shown(name)} is there twice.")
        _require_here(tensor.parameters, f"the input {shown(name)}")
        if kind is None:
            inputs[name] = Values("", ())
            continue
        require_datatype(name, tensor.datatype, kind)
        rows[name] = rows_of_shape(name, tensor.shape)
        if not raws:
            values = _contents(tensor, rows[name])
        elif tensor.HasField("contents"):
            raise Invalid(f"the input {name!r} has contents beside raw_input_contents.", hint="Send one of them.")
        else:
            values = from_raw(name, tensor.datatype, raws[place], rows[name])
        inputs[name] = Values(tensor.datatype, values)
    for output in request.outputs:
        _require_here(output.parameters, f"the output {shown(output.name)}")
    return batch(
        signature,
        inputs,
        rows,
        id=request.id,
        version=request.model_version,
        wanted=[o.name for o in request.outputs],
        parameters={n: getattr(p, p.WhichOneof("parameter_choice") or "", 0) for n, p in request.parameters.items()},
        started=started,
    )


def encode(outcome: Outcome, wanted: Batch, raw: bool) -> Any:
    """The ModelInferResponse of an outcome, with raw contents or typed ones. Raises Invalid when a row failed."""
    by = outcome.signature
    made = pb.ModelInferResponse(model_name=by.endpoint, model_version=str(by.version), id=wanted.id)
    for output, values in tensors(outcome, wanted.outputs):
        tensor = made.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if raw:
            made.raw_output_contents.append(to_raw(values, output.datatype))
        else:
            given = [v.encode() for v in values] if output.datatype == "BYTES" else values
            getattr(tensor.contents, _CONTENTS[output.datatype]).extend(given)
    return made


def metadata(signature: Signature) -> Any:
    """The ModelMetadataResponse of an endpoint."""
    told = oip_about.model(signature)
    return pb.ModelMetadataResponse(
        name=told["name"],
        versions=told["versions"],
        platform=told["platform"],
        inputs=[pb.ModelMetadataResponse.TensorMetadata(**i) for i in told["inputs"]],
        outputs=[pb.ModelMetadataResponse.TensorMetadata(**o) for o in told["outputs"]],
        properties=told["parameters"],
    )


def config(signature: Signature) -> Any:
    """The ModelConfigResponse of an endpoint."""
    told = oip_about.config(signature)
    told["input"] = [pb.ModelInput(**i) for i in told["input"]]
    told["output"] = [pb.ModelOutput(**o) for o in told["output"]]
    return pb.ModelConfigResponse(config=pb.ModelConfig(**told))


def statistics(told: list[dict[str, Any]]) -> Any:
    """The ModelStatisticsResponse of endpoints."""
    made = pb.ModelStatisticsResponse()
    for each in told:
        durations = {n: pb.StatisticDuration(**d) for n, d in each["inference_stats"].items()}
        made.model_stats.append(pb.ModelStatistics(**each | {"inference_stats": pb.InferStatistics(**durations)}))
    return made


def index(told: list[dict[str, str]]) -> Any:
    """The RepositoryIndexResponse of endpoints."""
    return pb.RepositoryIndexResponse(models=[pb.RepositoryIndexResponse.ModelIndex(**each) for each in told])


def _contents(tensor: Any, rows: int) -> list[Any]:
    """The typed contents of an input. Raises Invalid for another number of them, or for those of another type."""
    name, datatype = tensor.name, tensor.datatype
    field = _CONTENTS.get(datatype)
    if field is None:
        raise Unsupported(f"the input {name!r}: there are no typed contents of {datatype}.", hint="Send it raw.")
    for other, _ in tensor.contents.ListFields():
        if other.name != field:
            raise Invalid(f"the input {name!r} has {other.name} (accepted for {datatype}: {field}).")
    values = list(getattr(tensor.contents, field))
    if len(values) != rows:
        raise Invalid(f"the input {name!r} has {len(values)} values in {field}, and its shape {rows}.")
    if field in ("int_contents", "uint_contents"):
        for i, value in enumerate(values):
            if not fits(value, datatype):
                raise Invalid(f"row {i}: the input {name!r} is {value}, which is not {datatype}.")
    return values


def _require_here(parameters: Mapping[str, Any], what: str) -> None:
    for name in parameters:
        if name.startswith("shared_memory"):
            raise Unsupported(f"{what} is in shared memory.", hint="Send it in the message.")
        if name == "classification":
            raise Unsupported(f"{what}: classification.", hint="Ask for its values.")
