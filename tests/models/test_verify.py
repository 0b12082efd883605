"""Packages that are damaged, and packages that were forged to run code here: their manifests match."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_cases
import numpy as np
import pytest

from fivefold.core.errors import FivefoldError, Invalid, NotFound, Unsupported
from fivefold.models.package import load
from fivefold.models.verify import MANIFEST, manifest_of, verify

FORMATS = ("lightgbm-binary", "xgboost-binary", "linear-binary", "forest-binary", "torch-binary", "logistic-binary")


@pytest.fixture
def copied(packages: dict[str, model_cases.Built], tmp_path: Path) -> Callable[[str], Path]:
    """A package to spoil."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(packages[name].folder, tmp_path / name))

    return copy


def forge(folder: Path, **about: Any) -> None:
    """Make the manifest match whatever is there."""
    described = json.loads((folder / "fivefold.json").read_bytes())
    (folder / "fivefold.json").write_text(json.dumps({**described, **about}))
    (folder / MANIFEST).write_text(json.dumps(manifest_of(folder)))


@pytest.mark.parametrize("name", [*FORMATS, "object-binary"])
def test_one_changed_byte_in_any_file_is_found_and_the_file_named(copied: Callable[[str], Path], name: str) -> None:
    folder = copied(name)
    verify(folder)
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST):
        held = path.read_bytes()
        for place in {0, len(held) // 2, len(held) - 1}:
            path.write_bytes(held[:place] + bytes([held[place] ^ 1]) + held[place + 1 :])
            with pytest.raises(Invalid, match="corrupt") as raised:
                load(folder, trust_pickle=True)
            assert path.relative_to(folder).as_posix() in raised.value.message
        path.write_bytes(held)
    load(folder, trust_pickle=True)


def test_a_changed_byte_in_the_manifest_is_found(copied: Callable[[str], Path]) -> None:
    folder = copied("logistic-binary")
    held = (folder / MANIFEST).read_bytes()
    for place in range(len(held)):
        changed = held[:place] + bytes([held[place] ^ 1]) + held[place + 1 :]
        (folder / MANIFEST).write_bytes(changed)
        if json_of(changed) != json_of(held):  # another white space says the same
            with pytest.raises(Invalid, match="corrupt"):
                load(folder)


def json_of(text: bytes) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def test_a_missing_and_an_extra_file_are_named(copied: Callable[[str], Path]) -> None:
    folder = copied("logistic-binary")
    (folder / "model" / "extra.py").write_text("print(1)")
    with pytest.raises(Invalid, match=r"model/extra.py is not listed"):
        load(folder)
    (folder / "model" / "extra.py").unlink()
    (folder / "encoding.json").unlink()
    with pytest.raises(Invalid, match=r"encoding.json is missing"):
        load(folder)


def test_a_hidden_file_and_a_second_manifest_are_extra_files_too(copied: Callable[[str], Path]) -> None:
    folder = copied("logistic-binary")
    for name in (".hidden", f"model/{MANIFEST}"):
        (folder / name).write_text("{}")
        with pytest.raises(Invalid, match="is not listed"):
            load(folder)
        (folder / name).unlink()


def test_a_folder_without_a_manifest_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is no model package"):
        load(tmp_path)


def test_links_to_files_and_folders_are_refused_even_when_they_are_listed(
    copied: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied("logistic-binary")
    secret = tmp_path / "secret.json"
    shutil.move(folder / "encoding.json", secret)
    (folder / "encoding.json").symlink_to(secret)
    with pytest.raises(Invalid, match=r"encoding.json is a link"):
        load(folder)
    (folder / "encoding.json").unlink()
    shutil.move(secret, folder / "encoding.json")
    shutil.move(folder / "model", tmp_path / "outside")
    (folder / "model").symlink_to(tmp_path / "outside")
    with pytest.raises(Invalid, match="model is not listed"):
        load(folder)
    listed = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps({**listed, "model": "0" * 64}))
    with pytest.raises(Invalid, match="model"):
        load(folder)


def test_a_pipe_is_refused_and_not_waited_for(copied: Callable[[str], Path]) -> None:
    folder = copied("logistic-binary")
    (folder / "encoding.json").unlink()
    os.mkfifo(folder / "encoding.json")
    with pytest.raises(Invalid, match=r"encoding.json is a link or a device"):
        load(folder)


@pytest.mark.parametrize("outside", ["../secret", "model/../../secret", "/etc/hostname"])
def test_a_manifest_that_lists_files_elsewhere_is_refused(
    copied: Callable[[str], Path], tmp_path: Path, outside: str
) -> None:
    folder = copied("logistic-binary")
    (tmp_path / "secret").write_text("x")
    listed = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps({**listed, outside: hashlib.sha256(b"x").hexdigest()}))
    with pytest.raises(Invalid, match="is missing"):
        load(folder)


@pytest.mark.parametrize("predictor", ["../../outside", "joblib", "", "os"])
def test_a_forged_name_of_a_format_is_refused(copied: Callable[[str], Path], predictor: str) -> None:
    folder = copied("logistic-binary")
    forge(folder, predictor=predictor)
    with pytest.raises(Invalid, match="no model format"):
        load(folder)


def test_a_description_of_another_shape_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("logistic-binary")
    forge(folder, features=[{"name": "a", "type": "float64"}])
    with pytest.raises(Invalid, match="name other features"):
        load(folder)
    forge(folder, features="all")
    with pytest.raises(Invalid, match=r"fivefold.json is damaged"):
        load(folder)


class Bomb:
    """Runs code when it is unpickled: writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("name", FORMATS)
def test_a_pickle_in_place_of_any_file_never_runs(copied: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    bomb = pickle.dumps(Bomb(mark))
    pickle.loads(bomb)
    assert mark.exists(), "the bomb works"
    mark.unlink()
    folder = copied(name)
    inside = {
        "data.pkl": bomb,
        "archive/data.pkl": bomb,
        "archive/version": b"3\n",
        "schema.json": bomb,
        "1.npy": b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117)
        + bomb,
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for part, content in inside.items():
            made.writestr(part, content)
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST):
        held = path.read_bytes()
        for planted in (bomb, archive.getvalue()):
            path.write_bytes(planted)
            (folder / MANIFEST).write_text(json.dumps(manifest_of(folder)))
            with contextlib.suppress(FivefoldError):
                load(folder).predict(model_cases.rows(3, 1))
            assert not mark.exists(), path
        path.write_bytes(held)


@pytest.mark.parametrize("file", ["pickle/model.pkl", "model.joblib", "skops/model.skops", "onnx/model.onnx"])
def test_a_planted_pickle_runs_neither_with_a_forged_description_nor_without(
    copied: Callable[[str], Path], tmp_path: Path, file: str
) -> None:
    mark = tmp_path / "ran"
    folder = copied("logistic-binary")
    planted = folder / "model" / file
    planted.parent.mkdir(exist_ok=True)
    planted.write_bytes(pickle.dumps(Bomb(mark)))
    forge(folder)
    load(folder).predict(model_cases.rows(3, 1))
    for predictor in ("pickle", "skops", "onnx", "torch", "xgboost", "lightgbm"):
        forge(folder, predictor=predictor)
        with pytest.raises((Invalid, Unsupported)):
            load(folder)
        forge(folder, predictor=predictor, format="pickle")
        with pytest.raises(Unsupported, match="stored as a pickle"):
            load(folder)
    assert not mark.exists()


def test_a_trusted_pickle_runs_in_another_process_without_our_secrets(
    copied: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    mark = tmp_path / "ran"
    folder = copied("object-binary")

    class Spy:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f'echo "$PPID $AWS_SECRET_ACCESS_KEY" > {mark}',)

    (folder / "model" / "pickle" / "model.pkl").write_bytes(pickle.dumps(Spy()))
    forge(folder)
    with pytest.raises(Invalid, match="the pickled model failed: AttributeError"):
        load(folder, trust_pickle=True).predict(model_cases.rows(3, 1))
    parent, *secrets = mark.read_text().split()
    assert int(parent) != os.getpid()
    assert secrets == []


def test_predictions_still_work_after_all(packages: dict[str, model_cases.Built]) -> None:
    assert np.isfinite(load(packages["logistic-binary"].folder).predict(model_cases.rows(3, 1))).all()
