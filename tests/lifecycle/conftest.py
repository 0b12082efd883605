"""The shop of `declared_shop` for the tests of this room."""

from declared_shop import make_shop as make_shop
from declared_shop import shop as shop
