"""A torch module as a list of steps: exporting to it, and running it.

Steps are operators of the Core ATen set (https://docs.pytorch.org/docs/stable/torch.compiler_ir.html): tensors in,
tensors out, no files and no code. A reference to an earlier step is `{"step": name}`.
"""

from __future__ import annotations

import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fivefold.core.errors import Invalid
from fivefold.models.formats import first_line

_NAME = re.compile(r"aten\.([a-z][a-z0-9_]*|_[a-z][a-z0-9_]*)\.([A-Za-z][A-Za-z0-9_]*)")
_ON_NUMBERS: dict[str, Callable[..., Any]] = {
    "getitem": operator.getitem,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "neg": operator.neg,
}
_REFUSED = ("aten.as_strided.", "aten.empty", "aten.resize_.")
"""Operators of the set that show memory which nobody has written."""
_IDLE = "aten._assert_tensor_metadata.default"
_DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
_ELSEWHERE = ("device", "layout", "pin_memory")
"""Options that are left out: everything runs on the processor, in plain layout."""
_MEMORY = ("contiguous_format", "preserve_format", "channels_last")


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operator, and what it is applied to."""

    name: str
    op: str
    args: list[Any]
    options: dict[str, Any]


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps in order, from the matrix `input` `(n, features)` to `output`; `weights` are names of tensors."""

    input: str
    features: int
    weights: dict[str, str]
    steps: list[Step]
    output: str


def exported(module: Any, features: int) -> tuple[Program, dict[str, Any]]:
    """A module of `(n, features)` float32 as a program, and the tensors it needs, by name.

    Raises Invalid for a module that torch cannot export for any `n`, or whose steps are not data.
    """
    import torch

    rows = torch.export.Dim("rows", min=1, max=1 << 24)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about its own internals
            example = (torch.zeros(2, features),)
            made = torch.export.export(module, example, dynamic_shapes=({0: rows},)).run_decompositions()
    except Exception as e:  # torch raises dozens of classes for what it cannot trace
        raise Invalid(
            f"torch cannot export a {type(module).__name__}: {first_line(e)}.",
            hint="Write forward() without Python branches on values, for any number of rows.",
        ) from None
    specs, outputs = made.graph_signature.input_specs, made.graph_signature.output_specs
    weights: dict[str, str] = {}
    tensors: dict[str, Any] = {}
    held = {**made.constants, **made.state_dict}
    used = {node.name for node in made.graph.nodes if node.op == "placeholder" and node.users}
    for spec in specs:
        if spec.target is not None and spec.arg.name in used:
            weights[spec.arg.name] = spec.target
            tensors[spec.target] = held[spec.target]
    inputs = [spec.arg.name for spec in specs if spec.target is None]
    if len(outputs) != 1 or len(inputs) != 1:
        raise Invalid(
            f"a {type(module).__name__} changes itself while it predicts, or gives {len(outputs)} results, not one.",
            hint="Return one tensor from forward(), and keep no state in it.",
        )
    steps = [_step(node) for node in made.graph.nodes if node.op == "call_function" and str(node.target) != _IDLE]
    program = Program(inputs[0], features, weights, steps, outputs[0].arg.name)
    runner(program, tensors)
    return program, tensors


def runner(program: Program, tensors: Mapping[str, Any]) -> Callable[[Any], Any]:
    """What runs a program, tried on a row of zeros.

    Raises Invalid for a step that is no operator, or stands on one that is not there yet, or cannot be done.
    """
    import torch

    place = {program.input: 0} | {name: i for i, name in enumerate(program.weights, 1)}
    fixed = [None, *(tensors[name] for name in program.weights.values())]
    calls = []
    for step in program.steps:
        options = [(k, _filler(v, place, step.name)) for k, v in step.options.items()]
        calls.append((_operator(step.op), _filler(step.args, place, step.name), options))
        place[step.name] = len(place)
    if program.output not in place or len(place) != len(fixed) + len(program.steps):
        raise Invalid(f"the program's output {program.output!r} is no step of it, or two steps have one name.")
    last = place[program.output]

    def run(x: Any) -> Any:
        values = [x, *fixed[1:]]
        for call, args, options in calls:
            values.append(call(*args(values), **{k: fill(values) for k, fill in options}))
        return values[last]

    try:
        with torch.inference_mode():
            run(torch.zeros(1, program.features))
    except Exception as e:  # an operator raises anything for arguments that are not its own
        raise Invalid(f"the program cannot be run: {first_line(e)}.") from None
    return run


def _step(node: Any) -> Step:
    op = node.target.__name__ if node.target in _ON_NUMBERS.values() else str(node.target)
    options = {k: _plain(v) for k, v in node.kwargs.items() if k not in _ELSEWHERE}
    return Step(node.name, op, _plain(list(node.args)), options)


def _operator(name: str) -> Callable[..., Any]:
    import torch

    if name in _ON_NUMBERS:
        return _ON_NUMBERS[name]
    found: Any = None
    if (parts := _NAME.fullmatch(name)) and not name.startswith(_REFUSED):
        found = getattr(getattr(torch.ops.aten, parts[1], None), parts[2], None)
    if not isinstance(found, torch._ops.OpOverload) or torch.Tag.core not in found.tags:
        raise Invalid(f"the step {name!r} is not an operator of the Core ATen set.", hint="Use torch's own layers.")
    if torch.Tag.nondeterministic_seeded in found.tags:
        raise Invalid(f"the step {name!r} draws random numbers, so that predictions would differ from call to call.")
    call: Callable[..., Any] = found
    return call


def _plain(value: Any) -> Any:
    """A value of a graph as JSON."""
    import torch

    if isinstance(value, torch.fx.Node):
        return {"step": value.name}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, torch.dtype | torch.memory_format):
        kind = "dtype" if isinstance(value, torch.dtype) else "memory"
        return {kind: str(value).removeprefix("torch.")}
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Invalid(f"a {type(value).__name__} in a torch program is not data.", hint="Use torch's own layers.")


def _filler(value: Any, place: Mapping[str, int], where: str) -> Callable[[list[Any]], Any]:
    """What makes an argument from the values of the steps so far."""
    import torch

    match value:
        case {"step": str(name)} if len(value) == 1:
            if name not in place:
                raise Invalid(f"the step {where!r} stands on {name!r}, which is not there before it.")
            return operator.itemgetter(place[name])
        case {"dtype": str(name)} if name in _DTYPES and len(value) == 1:
            found = getattr(torch, name)
        case {"memory": str(name)} if name in _MEMORY and len(value) == 1:
            found = getattr(torch, name)
        case {"number": "inf" | "-inf" | "nan" as text} if len(value) == 1:
            found = float(text)
        case list(items):
            parts = [_filler(v, place, where) for v in items]
            return lambda values: [fill(values) for fill in parts]
        case None | bool() | int() | float() | str():
            found = value
        case _:
            raise Invalid(f"the step {where!r} has an argument that is not data: {value!r:.100}.")
    return lambda values: found
