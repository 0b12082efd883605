"""Point-in-time joins: for each spine row, the value of every feature as of that row's time.

The rules are in docs/decisions/0002-arithmetic.md and 0005-asof-join.md. Results do not depend on the order of the
rows, on memory, threads, chunks or partitions, to the last bit.
"""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Callable, Iterator, Sequence

import duckdb
import pyarrow as pa

from fivefold.core.errors import Conflict, Invalid
from fivefold.features.kernel.answer import Answers, answer
from fivefold.features.kernel.columns import times_and_flags
from fivefold.features.kernel.keys import Entities, entities
from fivefold.features.kernel.plan import Aggregate, Source
from fivefold.features.kernel.relation import Engine
from fivefold.features.kernel.rows import Queries, sort_queries
from fivefold.features.kernel.sources import Stored
from fivefold.features.kernel.spine import chunks_of, key_column, time_column

__all__ = ["Aggregate", "Source", "as_of", "as_of_batches"]

Progress = Callable[[str, int, int], None]
Asked = concurrent.futures.Future[tuple[Entities, Queries]]
MEMORY = 2**31


def as_of(
    spine: pa.Table | str,
    time: str,
    sources: Sequence[Source],
    *,
    memory: int = MEMORY,
    threads: int | None = None,
    connection: duckdb.DuckDBPyConnection | None = None,
    event_times: bool = False,
    progress: Progress | None = None,
) -> pa.Table:
    """The spine, its rows in their order, with one column appended for each aggregate.

    `spine` is an Arrow table or DuckDB SQL and `time` its column of query times (timestamp, date or int64 µs). `memory`
    (bytes) bounds what is held beside the result: larger sources are split by key into temporary files. With
    `event_times` each feature also has `<name>__time`, the event time of the newest row its window saw. `progress` is
    called with the name of a source, the steps done and the steps in all. A `connection` is used as it is, settings
    and all, and must not be used by others meanwhile. Raises Invalid, NotFound or Conflict for what does not fit
    together, and Invalid for values out of range.
    """
    return pa.concat_tables(_joined(spine, time, sources, memory, threads, connection, event_times, progress))


def as_of_batches(
    spine: pa.Table | str,
    time: str,
    sources: Sequence[Source],
    *,
    memory: int = MEMORY,
    threads: int | None = None,
    connection: duckdb.DuckDBPyConnection | None = None,
    event_times: bool = False,
    progress: Progress | None = None,
) -> Iterator[pa.RecordBatch]:
    """The same as `as_of`, a chunk of the spine at a time, for results that do not fit in memory."""
    for chunk in _joined(spine, time, sources, memory, threads, connection, event_times, progress):
        yield from chunk.combine_chunks().to_batches()


def _joined(
    spine: pa.Table | str,
    time: str,
    sources: Sequence[Source],
    memory: int,
    threads: int | None,
    connection: duckdb.DuckDBPyConnection | None,
    event_times: bool,
    progress: Progress | None,
) -> Iterator[pa.Table]:
    if memory < 1:
        raise Invalid(f"memory={memory} bytes (accepted: 1 or more).")
    workers = threads or os.cpu_count() or 1
    if not sources:
        raise Invalid("an as-of join without sources.")
    with Engine(connection, memory // 3, workers) as at:
        count, chunks = chunks_of(at, spine, memory // 3, _width(sources, event_times))
        budget = memory // 3 // min(workers, len(sources))
        stored = [Stored(at, source, n, budget, read_again=count > 1) for n, source in enumerate(sources)]
        with concurrent.futures.ThreadPoolExecutor(workers, "as-of") as pool:
            for number, chunk in enumerate(chunks):
                if number == 0:
                    _check_names(chunk.column_names, sources, event_times)
                asked = _asked(pool, chunk, time, stored)
                jobs = [
                    pool.submit(_answer, one, asked[tuple(one.source.spine_keys)], chunk.num_rows, event_times)
                    for one in stored
                ]
                try:
                    for done, job in enumerate(jobs, 1):
                        for name, array in job.result():
                            chunk = chunk.append_column(name, array)
                        if progress is not None:
                            progress(sources[done - 1].name, number * len(jobs) + done, count * len(jobs))
                finally:
                    for job in jobs:
                        job.cancel()
                yield chunk


def _answer(stored: Stored, asked: Asked, rows: int, event_times: bool) -> list[tuple[str, pa.Array]]:
    answers = Answers(stored.source.aggregates, rows, event_times)
    for table, count in stored.parts():
        # tasks start in the order they were submitted, so what is waited for is running or done
        answer(answers, stored.source, table, *asked.result(), count == 1)
    return list(answers.arrays())


def _asked(
    pool: concurrent.futures.Executor, chunk: pa.Table, time: str, stored: Sequence[Stored]
) -> dict[tuple[str, ...], Asked]:
    """The entities and the sorted queries of the spine rows, once for each set of key columns."""
    found = {key: key_column(chunk, key) for key in {key: None for one in stored for key in one.source.spine_keys}}
    moments, present = times_and_flags(time_column(chunk, time))
    for one in stored:
        one.check_types({key: found[key][1] for key in one.source.spine_keys})

    def ask(keys: tuple[str, ...]) -> tuple[Entities, Queries]:
        known = entities([found[key][0] for key in keys])
        return known, sort_queries(known.codes, moments, present, known.count)

    return {keys: pool.submit(ask, keys) for keys in {tuple(one.source.spine_keys): None for one in stored}}


def _check_names(spine: Sequence[str], sources: Sequence[Source], event_times: bool) -> None:
    taken = set(spine)
    for aggregate in (a for s in sources for a in s.aggregates):
        for name in (aggregate.name, f"{aggregate.name}__time")[: 1 + event_times]:
            if name in taken:
                raise Conflict(
                    f"feature column {name!r} exists already, in the spine or as another feature.",
                    hint="Give the feature another name.",
                )
            taken.add(name)


def _width(sources: Sequence[Source], event_times: bool) -> int:
    """The bytes the join adds to a spine row while it is in memory: its query for each key, and the answers."""
    keys = {tuple(s.spine_keys) for s in sources}
    return sum(64 + 16 * len(k) for k in keys) + sum(len(s.aggregates) for s in sources) * (20 + 20 * event_times)
