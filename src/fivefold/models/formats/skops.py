"""scikit-learn estimators by skops: types are named, and only known ones are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fivefold.core.errors import Invalid, missing_extra
from fivefold.models.fitted import Predict

TRUSTED = ("sklearn.", "numpy.dtype", "numpy.random.")


def save(model: Any, folder: Path, task: str) -> None:
    """Write `model.skops`, its archive without dates, so that equal models give equal bytes."""
    io = _io()
    (folder / "model.skops").write_bytes(_undated(io.dumps(model)))
    _check(folder / "model.skops")


def load(folder: Path, task: str) -> Predict:
    """Read `model.skops`. Raises Invalid, naming them, for types outside scikit-learn and skops' own list."""
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
    try:
        found = _io().get_untrusted_types(file=path)
    except Exception as e:  # skops and zipfile raise many classes for a damaged archive
        raise Invalid(f"{path.name} is no skops model: {e}.") from None
    strange = [t for t in found if not t.startswith(TRUSTED)]
    if strange:
        raise Invalid(
            f"{path.name} holds types that are not trusted: {', '.join(strange[:5])}.",
            hint="Use estimators of scikit-learn alone, or a learner with another format.",
        )
    return list(found)


def _undated(archive: bytes) -> bytes:
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as given, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for info in sorted(given.infolist(), key=lambda i: i.filename):
            made.writestr(zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0)), given.read(info), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _io() -> Any:
    try:
        import skops.io
    except ImportError:
        raise missing_extra("skops", "sklearn", "this model") from None
    return skops.io
