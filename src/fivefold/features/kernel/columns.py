"""A column as the kernel sees it: canonical numbers, or codes into distinct texts, with nulls apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fivefold.core.types import Type
from fivefold.features.kernel.arrays import Array, Flags, Ints, Words


@dataclass(frozen=True)
class Column:
    """Values and where they are not null (`valid` is None when all are).

    A string column holds codes into `texts`, its distinct values in no particular order.
    """

    type: Type
    values: Array
    valid: Flags | None
    texts: pa.Array | None = None

    def take(self, rows: Ints) -> Column:
        """The column of the given rows only."""
        return Column(self.type, self.values[rows], None if self.valid is None else self.valid[rows], self.texts)

    def flags(self) -> Flags:
        """Where the values are not null, written out."""
        return np.ones(len(self.values), np.bool_) if self.valid is None else self.valid


def column(array: pa.Array, kind: Type) -> Column:
    """The canonical form of an Arrow array of exactly the type `kind` (timestamps as int64 µs).

    NaN becomes null and -0.0 becomes 0.0, so that equal values have equal bits.
    """
    if kind is Type.FLOAT64:
        numbers = array.to_numpy(zero_copy_only=False)  # Arrow writes nulls as NaN here
        valid = ~np.isnan(numbers)
        if valid.all():
            return Column(kind, numbers + 0.0, None)
        numbers = np.where(valid, numbers, 0.0)
        numbers += 0.0
        return Column(kind, numbers, valid)
    present = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
    if kind is Type.STRING:
        encoded = array.dictionary_encode()
        codes = encoded.indices.fill_null(0).to_numpy().astype(np.int64)
        return Column(kind, codes, present, encoded.dictionary)
    if array.null_count:
        array = array.fill_null(False if kind is Type.BOOL else 0)
    return Column(kind, array.to_numpy(zero_copy_only=False), present)


def sortable(given: Column) -> Array:
    """Numbers that compare as the values do: numbers by size, false before true, texts by their UTF-8 bytes."""
    if given.texts is None or not len(given.texts):
        return given.values
    used, inverse = np.unique(given.values, return_inverse=True)
    return text_ranks(given.texts.take(pa.array(used)))[inverse]


def text_ranks(texts: pa.Array) -> Ints:
    """The rank of each of some distinct texts by UTF-8 bytes (Arrow compares strings so)."""
    ranks = np.empty(len(texts), np.int64)
    ranks[pc.sort_indices(texts).to_numpy()] = np.arange(len(texts))
    return ranks


def bits(given: Column) -> Words:
    """The 64 canonical bits of numbers; equal values, and only they, have equal bits."""
    if given.type is Type.FLOAT64:
        return np.ascontiguousarray(given.values).view(np.uint64)
    return given.values.astype(np.int64).view(np.uint64)


def kind_of(array: pa.Array) -> Type:
    """The column type of an array that is canonical already; times are int64 there and sort as such."""
    if pa.types.is_int64(array.type):
        return Type.INT64
    if pa.types.is_float64(array.type):
        return Type.FLOAT64
    return Type.BOOL if pa.types.is_boolean(array.type) else Type.STRING


def times_and_flags(array: pa.Array) -> tuple[Ints, Flags]:
    """Times in µs, and which of them are not null."""
    moments = column(array, Type.TIMESTAMP)
    return moments.values, moments.flags()
