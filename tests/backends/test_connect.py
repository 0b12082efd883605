from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

from fivefold.backends import backends_of, connect
from fivefold.backends.url import parse
from fivefold.core.errors import Invalid, NotFound
from fivefold.ports.artifacts import ArtifactStore


class NobodysPort(Protocol):
    def answer(self) -> int: ...


def test_an_unknown_scheme_names_what_there_is_and_the_nearest() -> None:
    with pytest.raises(NotFound) as raised:
        connect(ArtifactStore, "memry:")
    assert str(raised.value).startswith("no backend 'memry' for ArtifactStore (have: files, memory, s3")
    assert str(raised.value).endswith("Did you mean 'memory'?")


def test_a_port_without_backends_says_none() -> None:
    assert backends_of(NobodysPort) == ()
    with pytest.raises(NotFound, match=r"no backend 'memory' for NobodysPort \(have: none\)"):
        connect(NobodysPort, "memory:")


@pytest.mark.parametrize("url", ["", "data", "./data", "//host/data", ":secret"])
def test_a_place_without_a_scheme_is_invalid_and_not_repeated(url: str) -> None:
    with pytest.raises(Invalid, match="URL with a scheme") as raised:
        connect(ArtifactStore, url)
    assert "secret" not in str(raised.value)


def test_another_spelling_of_a_scheme_finds_the_same_backend(tmp_path: Path) -> None:
    for scheme in ("files", "file", "FILES"):
        connect(ArtifactStore, f"{scheme}:{tmp_path}/{scheme}")
        assert (tmp_path / scheme).is_dir()


def test_connecting_imports_the_library_of_no_other_backend(tmp_path: Path) -> None:
    code = f"""
import sys
from fivefold.backends import connect
from fivefold.ports.artifacts import ArtifactStore
connect(ArtifactStore, "files:{tmp_path}/data")
assert "fivefold.backends.files.artifacts" in sys.modules
assert "fivefold.backends.s3.artifacts" not in sys.modules and "obstore" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_library_says_the_command_that_installs_it() -> None:
    code = """
import sys
sys.modules["obstore"] = None
from fivefold.backends import connect
from fivefold.core.errors import Unsupported
from fivefold.ports.artifacts import ArtifactStore
try:
    connect(ArtifactStore, "s3://bucket")
except Unsupported as said:
    print(said)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "'obstore', which is not installed. Run: pip install 'fivefold[s3]'" in said


def test_a_backend_of_another_package_is_found_by_its_entry_point(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "their_store"
    package.mkdir()
    (package / "__init__.py").write_text("schemes = ('theirs',)\n")
    (package / "artifacts.py").write_text(
        "from fivefold.ports.artifacts import ArtifactStore\n"
        "class Store:\n"
        "    def __init__(self, url, *, colour): self.url, self.colour = url, colour\n"
        "provides = {ArtifactStore: Store}\n")
    about = tmp_path / "their_store-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-store\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[fivefold.backends]\ntheirs = their_store\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    store = connect(ArtifactStore, "theirs://somewhere", colour="blue")
    assert vars(store) == {"url": "theirs://somewhere", "colour": "blue"}
    assert "theirs" in backends_of(ArtifactStore)


def test_a_url_does_not_show_its_password() -> None:
    url = parse("postgresql://ada:secret@host:5432/db?password=secret")
    assert (url.user, url.password, url.host, url.port, url.path) == ("ada", "secret", "host", 5432, "/db")
    assert str(url) == "postgresql://host:5432/db"
    assert "secret" not in repr(url)
