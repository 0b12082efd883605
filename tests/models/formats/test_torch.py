from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import model_cases
import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from fivefold.core.errors import Invalid
from fivefold.models import formats
from fivefold.models.formats.torch_program import Program, Step, runner

X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 1)

    def forward(self, x: Any) -> Any:
        h = x.unsqueeze(1).expand(x.shape[0], 4, 6)
        return self.out(self.attention(h, h, h, need_weights=False)[0].mean(1))


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.filters, self.norm, self.out = nn.Conv1d(1, 4, 3, padding=1), nn.LayerNorm(6), nn.Linear(24, 1)
        self.register_buffer("unkept", torch.arange(24.0), persistent=False)

    def forward(self, x: Any) -> Any:
        h = torch.relu(self.norm(self.filters(x.view(x.shape[0], 1, 6)))).flatten(1)
        return self.out(h * self.unkept + torch.tensor([0.5]))


class Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(5, 3), nn.Linear(9, 1)

    def forward(self, x: Any) -> Any:
        kind = torch.clamp(x[:, 0].long() + 2, 0, 4)
        return self.out(torch.cat([self.table(kind), x], dim=1))


MODULES = {
    "gelu": lambda: nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 1)),
    "norm": lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)),
    "attention": Attention,
    "convolution": Convolution,
    "embedding": Embedding,
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_answers_the_same_after_it_was_stored_for_any_number_of_rows(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    module = MODULES[name]().eval()
    formats.save("torch", (module, 6), tmp_path, "regression")
    predict = formats.load("torch", tmp_path, "regression")
    with torch.no_grad():
        for rows in (1, 2, 40):
            expected = module(torch.from_numpy(X[:rows])).reshape(-1).numpy()
            assert np.allclose(predict(X[:rows].astype(float)), expected, atol=1e-6, rtol=0)
    held = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert set(held) == {"weights.safetensors", "program.json"}
    formats.save("torch", (module, 6), tmp_path, "regression")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == held


def test_tied_weights_are_stored_and_used(tmp_path: Path) -> None:
    one = nn.Linear(6, 6)
    module = nn.Sequential(one, nn.ReLU(), one, nn.Linear(6, 1)).eval()
    formats.save("torch", (module, 6), tmp_path, "regression")
    with torch.no_grad():
        expected = module(torch.from_numpy(X)).reshape(-1).numpy()
    assert np.allclose(formats.load("torch", tmp_path, "regression")(X.astype(float)), expected, atol=1e-6)


class Branch(nn.Module):
    def forward(self, x: Any) -> Any:
        return x[:, 0] if x.sum() > 0 else x[:, 1]


class Noise(nn.Module):
    def forward(self, x: Any) -> Any:
        return x[:, 0] + torch.rand(x.shape[0])


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Any) -> Any:
        self.calls.add_(1)
        return x[:, 0] + self.calls


class Pair(nn.Module):
    def forward(self, x: Any) -> Any:
        return x[:, 0], x[:, 1]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Branch(), "torch cannot export a Branch"),
        (Noise(), "draws random numbers"),
        (Counter(), "changes itself while it predicts"),
        (Pair(), "gives 2 results, not one"),
    ],
)
def test_what_is_no_function_of_rows_is_refused(tmp_path: Path, module: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        formats.save("torch", (module, 6), tmp_path, "regression")


def program(*steps: Step, output: str = "a") -> Program:
    return Program("x", 6, {}, list(steps), output)


@pytest.mark.parametrize(
    "op",
    [
        "os.system",
        "eval",
        "aten.from_file.default",
        "aten.save.default",
        "aten.resize_.default",
        "aten.empty.memory_format",
        "aten.as_strided.default",
        "aten.__class__.default",
        "aten.relu.__class__",
        "aten.relu",
        "aten.no_such.default",
        "aten.rand.default",
        "prims.sin.default",
        "inductor.accumulate_grad_.default",
        "__import__",
        "builtins.eval",
    ],
)
def test_a_step_that_is_no_operator_of_the_set_is_refused(op: str) -> None:
    with pytest.raises(Invalid, match=r"not an operator of the Core ATen set|draws random numbers"):
        runner(program(Step("a", op, [{"step": "x"}], {})), {})


@pytest.mark.parametrize(
    "argument",
    [{"dtype": "os"}, {"memory": "__class__"}, {"step": "later"}, {"code": "1"}, {"step": "x", "more": 1}, {}],
)
def test_an_argument_that_is_no_data_is_refused(argument: Any) -> None:
    with pytest.raises(Invalid, match="the step 'a'"):
        runner(program(Step("a", "aten.relu.default", [argument], {})), {})
    with pytest.raises(Invalid, match="the step 'a'"):
        runner(program(Step("a", "aten.relu.default", [{"step": "x"}], {"out": argument})), {})


def test_an_output_that_is_no_step_and_names_given_twice_are_refused() -> None:
    step = Step("a", "aten.relu.default", [{"step": "x"}], {})
    for wrong in (program(step, output="b"), program(step, step), Program("x", 6, {"x": "w"}, [step], "a")):
        with pytest.raises(Invalid, match="is no step of it, or two steps have one name"):
            runner(wrong, {"w": torch.zeros(1)})


def test_expressions_are_never_evaluated(packages: dict[str, model_cases.Built], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    held = packages["torch-binary"].folder / "model" / "torch"
    plain = json.loads((held / "program.json").read_bytes())
    (tmp_path / "weights.safetensors").write_bytes((held / "weights.safetensors").read_bytes())
    for i in range(len(plain["steps"])):
        for field in ("name", "op", "args", "options"):
            changed = json.loads(json.dumps(plain))
            changed["steps"][i][field] = {"args": [code], "options": {"out": code}}.get(field, code)
            (tmp_path / "program.json").write_text(json.dumps(changed))
            if field == "name" and i == len(plain["steps"]) - 1:
                changed["output"] = code  # any text is a name
                (tmp_path / "program.json").write_text(json.dumps(changed))
                formats.load("torch", tmp_path, "binary")(np.zeros((1, 5)))
            elif changed != plain:
                with pytest.raises(Invalid):
                    formats.load("torch", tmp_path, "binary")
            assert not mark.exists()


def test_weights_that_are_missing_are_named(packages: dict[str, model_cases.Built], tmp_path: Path) -> None:
    held = packages["torch-binary"].folder / "model" / "torch"
    made = msgspec.json.decode((held / "program.json").read_bytes(), type=Program)
    first = next(iter(made.weights))
    wrong = msgspec.structs.replace(made, weights={**made.weights, first: "no.such"})
    (tmp_path / "program.json").write_bytes(msgspec.json.encode(wrong))
    (tmp_path / "weights.safetensors").write_bytes((held / "weights.safetensors").read_bytes())
    with pytest.raises(Invalid, match=r"has no weights 'no.such'"):
        formats.load("torch", tmp_path, "binary")
