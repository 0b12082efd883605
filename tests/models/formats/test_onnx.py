from __future__ import annotations

from pathlib import Path

import model_cases
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fivefold.core.errors import Invalid
from fivefold.models import formats


def model_of_outside_weights(location: str) -> bytes:
    """Adds to its input four floats that are in a file."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4], b"\0" * 16, raw=True)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        entry = weights.external_data.add()
        entry.key, entry.value = key, value
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)]).SerializeToString())


@pytest.mark.parametrize("where", ["beside", "here", "absolute", "above"])
def test_weights_in_another_file_are_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "w.bin").write_bytes(np.full(4, 7, np.float32).tobytes())
    monkeypatch.chdir(tmp_path if where == "here" else folder)
    location = {"absolute": str(tmp_path / "w.bin"), "above": "../w.bin"}.get(where, "w.bin")
    formats.save("onnx", model_of_outside_weights(location), folder, "regression")
    with pytest.raises(Invalid, match="holds no onnx model that can be read"):
        formats.load("onnx", folder, "regression")


def test_an_operator_of_a_foreign_library_is_refused(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [None, 4]) for n in "xy")
    graph = helper.make_graph([helper.make_node("PyOp", ["x"], ["y"], domain="ai.onnx.contrib")], "g", [x], [y])
    imports = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.contrib", 1)]
    formats.save("onnx", helper.make_model(graph, opset_imports=imports).SerializeToString(), tmp_path, "regression")
    with pytest.raises(Invalid, match="PyOp"):
        formats.load("onnx", tmp_path, "regression")


@pytest.mark.parametrize("name", ["xgboost-binary", "xgboost-ranking", "linear-multiclass"])
def test_a_model_says_nothing_of_the_converter_and_takes_any_number_of_rows(
    packages: dict[str, model_cases.Built], name: str
) -> None:
    model = onnx.load(str(packages[name].folder / "model" / "onnx" / "model.onnx"))
    assert (model.producer_name, model.producer_version, model.doc_string) == ("fivefold", "", "")
    assert model.graph.name == "model"
    rows, columns = model.graph.input[0].type.tensor_type.shape.dim
    assert not rows.dim_value
    assert columns.dim_value == len(packages[name].encoding.names)


def test_converting_twice_gives_the_same_bytes(packages: dict[str, model_cases.Built]) -> None:
    for name in ("xgboost-multiclass", "linear-binary", "forest-regression"):
        convert = packages[name].fitted.to_onnx
        assert convert is not None
        assert convert() == convert(), name
