"""The same project file on PostgreSQL and S3, by configuration alone: real servers, the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import psycopg
import pytest


def fivefold(*words: str, cwd: Path, **env: str) -> str:
    done = subprocess.run([sys.executable, "-m", "fivefold.cli.main", *words], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "COLUMNS": "200", **env})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_project_moves_to_postgres_and_s3_and_its_versions_stay_the_same(
        tmp_path: Path, postgres_url: str, s3_server: dict[str, str]) -> None:
    shop = tmp_path / "shop"
    fivefold("init", "shop", cwd=tmp_path)
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("create table orders (order_id bigint, customer_id text, ordered_at timestamp, amount double precision, "
                   "returned boolean)")
        for line in (shop / "data" / "orders.csv").read_text().splitlines()[1:]:
            db.execute("insert into orders values (%s, %s, %s, %s, %s)", line.split(","))
    table = postgres_url + ("&" if "?" in postgres_url else "?") + "table=orders"
    (shop / "fivefold.toml").write_text(f"""
project = "shop"

[env.prod]
catalog = "{postgres_url}"
artifacts = "s3://artifacts/{uuid.uuid4().hex}"
tables.orders = "{table}"
options.s3 = {{endpoint = "{s3_server['endpoint']}", access_key_id = "env:S3_KEY", secret_access_key = "env:S3_SECRET"}}
""")
    secrets = {"S3_KEY": s3_server["access_key_id"], "S3_SECRET": s3_server["secret_access_key"]}
    for env in ("dev", "prod"):
        fivefold("apply", "--env", env, cwd=shop, **secrets)
        assert "is champion" in fivefold("train", "returned", "--env", env, cwd=shop, **secrets)
    versions = [json.loads(fivefold("list", "versions", "--json", "--env", env, cwd=shop, **secrets)) for env in ("dev", "prod")]
    (dev,), (prod,) = versions
    assert dev["info"]["inputs"]["snapshots"] == prod["info"]["inputs"]["snapshots"]
    assert dev["key"] == prod["key"]
    assert dev["info"]["judged_on"] == prod["info"]["judged_on"]
    # applied again, the database is read again, and nothing changes
    assert "nothing changed" in fivefold("apply", "--env", "prod", cwd=shop, **secrets)
    assert "spending" in fivefold("materialize", "--env", "prod", cwd=shop, **secrets)
    done = subprocess.run([sys.executable, "-m", "fivefold.cli.main", "plan", "--env", "prod"], cwd=shop, capture_output=True,
                          text=True, env={k: v for k, v in os.environ.items() if k not in secrets})
    assert "'S3_KEY' is not set" in done.stderr


def test_a_version_is_carried_from_one_environment_to_the_next(tmp_path: Path, postgres_url: str) -> None:
    shop = tmp_path / "shop"
    fivefold("init", "shop", cwd=tmp_path)
    (shop / "fivefold.toml").write_text(f'project = "shop"\n[env.prod]\ncatalog = "{postgres_url}"\n')
    fivefold("apply", cwd=shop)
    fivefold("train", "returned", cwd=shop)
    assert "returned@1 is champion" in fivefold("promote", "returned@1", "--to", "prod", cwd=shop)
    (carried,) = json.loads(fivefold("list", "versions", "--json", "--env", "prod", cwd=shop))
    assert carried["info"]["carried_from"] == {"environment": "dev", "version": 1, "run": carried["info"]["carried_from"]["run"]}
    with pytest.raises(AssertionError, match="nothing has been read"):
        fivefold("infer", "orders", "--env", "prod", cwd=shop)
