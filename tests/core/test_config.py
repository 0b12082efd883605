import pytest

from fivefold.core.config import environment, settings
from fivefold.core.errors import Invalid, NotFound

TEXT = """
project = "shop"

[default]
memory = "1GB"

[env.prod]
catalog = "postgresql://db/x"
tables.orders = "s3://lake/orders/*.parquet"
options.s3 = {access_key_id = "env:KEY"}
"""


def test_environments_share_the_defaults_and_nothing_else() -> None:
    given = settings(TEXT)
    dev, prod = environment(given, "dev", {}), environment(given, "prod", {"KEY": "secret"})
    assert (dev.memory, prod.memory) == ("1GB", "1GB")
    assert dev.catalog == "sqlite:///.fivefold/catalog.db"
    assert prod.catalog == "postgresql://db/x"
    assert (dev.state, prod.state) == (".fivefold", ".fivefold/env-prod")
    assert {dev.artifacts, dev.online}.isdisjoint({prod.artifacts, prod.online})
    assert prod.tables == {"orders": "s3://lake/orders/*.parquet"}
    assert prod.options["s3"]["access_key_id"] == "secret"


def test_a_secret_that_is_not_set_is_named_but_only_where_it_is_used() -> None:
    assert environment(settings(TEXT), "dev", {}).name == "dev"
    with pytest.raises(NotFound, match="'KEY' is not set"):
        environment(settings(TEXT), "prod", {})


@pytest.mark.parametrize(("text", "name", "message"), [
    ("nonsense = 1", "dev", "nonsense"), ("[default]\nthreads = 'two'", "dev", "threads"),
    ("[env.prod]\nmemroy = '1GB'", "prod", "Did you mean 'memory'"), ("[env.prod]", "prd", "Did you mean 'prod'"),
    ("x = [", "dev", "fivefold.toml"), ("[default]\npredictions_kept = 'long'", "dev", "predictions_kept"),
    ("[default]\npredictions_bytes = 0", "dev", "predictions_bytes=0 (accepted: 1 or more)")])
def test_mistakes_are_named(text: str, name: str, message: str) -> None:
    with pytest.raises((Invalid, NotFound)) as caught:
        environment(settings(text), name, {})
    assert message in str(caught.value)
