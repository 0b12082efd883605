"""scikit-learn estimators by skops: types are named, and only known ones are made."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.core.errors import Invalid, missing_extra
from fivefold.models.fitted import Predict

TRUSTED = frozenset(
    {
        "numpy.dtype",
        "numpy.random.mtrand.RandomState",
        "scipy.interpolate._bsplines.BSpline",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        *(
            f"sklearn.gaussian_process.kernels.{name}"
            for name in (
                "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation", "Matern", "Product", "RBF",
                "RationalQuadratic", "Sum", "WhiteKernel",
            )
        ),
        *(f"sklearn.metrics._dist_metrics.{name}Distance64" for name in ("Chebyshev", "Euclidean", "Manhattan")),
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        *(
            f"sklearn.feature_selection._univariate_selection.{name}"
            for name in ("chi2", "f_classif", "f_regression")
        ),
        "sklearn.feature_selection._mutual_info.mutual_info_classif",
        "sklearn.feature_selection._mutual_info.mutual_info_regression",
    }
)  # fmt: skip
"""What estimators hold beside what skops trusts itself. Named one by one: `sklearn.` as a whole would let in, for
instance, the `subprocess.check_output` that `sklearn.utils._testing` imports."""


def save(model: Any, folder: Path, task: str) -> None:
    """Write `model.skops`, its archive without dates and addresses, so that equal models give equal bytes."""
    (folder / "model.skops").write_bytes(_settled(_io().dumps(model)))
    _check(folder / "model.skops")


def load(folder: Path, task: str) -> Predict:
    """Read `model.skops`. Raises Invalid, naming them, for types that are not trusted."""
    path = folder / "model.skops"
    trusted = _check(path)
    return predictor(_io().load(path, trusted=trusted), task)


def predictor(estimator: Any, task: str) -> Predict:
    """An estimator's probabilities or numbers."""

    def predict(x: np.ndarray) -> np.ndarray:
        if task == "binary":
            return np.asarray(estimator.predict_proba(x)[:, 1], dtype=np.float64)
        if task == "multiclass":
            return np.asarray(estimator.predict_proba(x), dtype=np.float64)
        return np.asarray(estimator.predict(x), dtype=np.float64).ravel()

    return predict


def _check(path: Path) -> list[str]:
    found = [str(t) for t in _io().get_untrusted_types(file=path)]
    strange = sorted(set(found) - TRUSTED)
    if strange:
        raise Invalid(
            f"{path.name} holds types that are not trusted: {', '.join(strange[:5])}.",
            hint="Use estimators of scikit-learn alone, or a learner with another format.",
        )
    return found


def _settled(archive: bytes) -> bytes:
    """The archive with parts numbered in order, in place of addresses in memory, and without dates."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as given, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        numbers: dict[object, int] = {}
        names: dict[str, str] = {}
        schema = _renumbered(json.loads(given.read("schema.json")), numbers, names)
        contents = {new: given.read(old) for old, new in names.items()}
        contents["schema.json"] = json.dumps(schema, indent=1).encode()
        for name in sorted(contents):
            made.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), contents[name], zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _renumbered(node: Any, numbers: dict[object, int], names: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_renumbered(item, numbers, names) for item in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__" and isinstance(value, int):
            # which equal constants are one object is up to the interpreter: told apart by their content instead
            same = node["content"] if node.get("__loader__") == "JsonNode" else value
            out[key] = numbers.setdefault(same, len(numbers) + 1)
        elif key == "file" and isinstance(value, str):
            out[key] = names.setdefault(value, f"{len(names) + 1}{Path(value).suffix}")
        else:
            out[key] = _renumbered(value, numbers, names)
    return out


def _io() -> Any:
    try:
        import skops.io
    except ImportError:
        raise missing_extra("skops", "sklearn", "this model") from None
    return skops.io
