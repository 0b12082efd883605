"""The values of all metrics of this process, read where they are counted already."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence

from fivefold import __version__
from fivefold.models.rollout import Arm
from fivefold.realtime.batching.batcher import Batcher
from fivefold.realtime.batching.gate import Gate
from fivefold.realtime.batching.lane import Lane
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.endpoints.trial import SHADOW, Trial
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.telemetry.families import Buckets, Sample
from fivefold.realtime.telemetry.process_numbers import process_numbers
from fivefold.realtime.telemetry.tally import ANSWERED, FAILED, ROWS_FAILED, Histogram, Tally

_OUTCOMES = {ANSWERED: "answered", ROWS_FAILED: "rows_failed", FAILED: "failed"}

Measure = Callable[[], list[Sample]]


def measuring(
    endpoints: Mapping[str, Live], batcher: Batcher, gate: Gate, log: PredictionLog, more: Sequence[Measure] = ()
) -> Measure:
    """What gives the samples of a process that answers; `more` measure what is not known here."""

    def measure() -> list[Sample]:
        out = [
            Sample("fivefold_workers", (), 1),
            Sample("fivefold_build_info", (__version__, platform.python_version()), 1),
            Sample("fivefold_rate_limited_requests", (), gate.limited),
            *_logged(log),
            *process_numbers(),
        ]
        for live in endpoints.values():
            out += [*_served(live), *_recent(live), *_asked(live, batcher.lanes.get(live.name))]
            for number, tally, names in live.tallies.all():
                out += _answered((live.name, str(number)), tally, names)
            if (trial := live.trial) is not None:
                out += _tried(live.name, trial)
        for each in more:
            out += each()
        return out

    return measure


def _served(live: Live) -> Iterator[Sample]:
    name, served = live.name, live.served
    yield Sample("fivefold_endpoint_ready", (name,), int(served is not None and live.trouble is None))
    if served is not None:
        yield Sample("fivefold_serving", (name, str(served.version.number), served.version.model), 1)
    if live.slo is not None:
        yield Sample("fivefold_slo_seconds", (name,), live.slo / 1e9)
    if live.cache is not None:
        counts = live.cache.counts()
        for result, counted in (("hit", "hits"), ("wait", "waits"), ("miss", "misses")):
            yield Sample("fivefold_cache_rows", (name, result), counts[counted])
        yield Sample("fivefold_cache_entries", (name,), counts["entries"])
        yield Sample("fivefold_cache_bytes", (name,), counts["bytes"])


def _recent(live: Live) -> Iterator[Sample]:
    if live.feature_cache is not None:
        counts = live.feature_cache.counts()
        for result, counted in (("hit", "hits"), ("miss", "misses")):
            yield Sample("fivefold_feature_cache_rows", (live.name, result), counts[counted])
        yield Sample("fivefold_feature_cache_entries", (live.name,), counts["entries"])
        yield Sample("fivefold_feature_cache_bytes", (live.name,), counts["bytes"])


def _asked(live: Live, lane: Lane | None) -> Iterator[Sample]:
    """What no version took up has none: requests that were refused, that expired, whose client left."""
    name = live.name
    refused = expired = cancelled = 0
    if lane is not None:
        refused, expired, cancelled = lane.door.refused, lane.expired, lane.cancelled
        yield Sample("fivefold_batch_rows", (name,), _buckets(lane.sizes))
        yield Sample("fivefold_calls", (name, "no"), lane.calls - lane.merged)
        yield Sample("fivefold_calls", (name, "yes"), lane.merged)
        requests, rows = lane.waiting
        yield Sample("fivefold_waiting_requests", (name,), requests)
        yield Sample("fivefold_waiting_rows", (name,), rows)
        yield Sample("fivefold_concurrency_limit", (name,), lane.door.gradient.limit)
        fit = lane.calling
        yield Sample("fivefold_call_row_seconds", (name,), fit.each / 1e9)
        yield Sample("fivefold_call_once_seconds", (name,), fit.once / 1e9)
        yield Sample("fivefold_call_beyond_seconds", (name,), fit.beyond / 1e9)
    yield Sample("fivefold_requests", (name, "", "refused"), refused)
    yield Sample("fivefold_requests", (name, "", "expired"), expired + live.counts.missed)
    yield Sample("fivefold_requests", (name, "", "cancelled"), cancelled)


def _answered(version: tuple[str, str], tally: Tally, names: Sequence[str]) -> Iterator[Sample]:
    for place, outcome in _OUTCOMES.items():
        yield Sample("fivefold_requests", (*version, outcome), tally.outcomes[place])
    yield Sample("fivefold_rows", (*version, "answered"), tally.rows - tally.rows_failed)
    yield Sample("fivefold_rows", (*version, "failed"), tally.rows_failed)
    yield Sample("fivefold_request_duration_seconds", version, _buckets(tally.latency))
    for feature, statuses in zip(names, tally.features(), strict=False):
        for status, count in statuses.items():
            yield Sample("fivefold_features", (*version, feature, status), count)


def _tried(endpoint: str, trial: Trial) -> Iterator[Sample]:
    other = (endpoint, str(trial.other))
    yield Sample("fivefold_rollout_share", (*other, trial.role), trial.rollout.part)
    yield from _arm((endpoint, str(trial.champion), "champion"), trial.known.champion)
    yield from _arm((*other, trial.role), trial.known.other)
    if trial.role == SHADOW:
        yield Sample("fivefold_rollout_differing_rows", other, trial.known.comparison.differ)


def _arm(labels: tuple[str, str, str], arm: Arm) -> Iterator[Sample]:
    for what, count in (("answers", arm.answers), ("failed", arm.failed), ("late", arm.late), ("labels", arm.losses)):
        yield Sample(f"fivefold_rollout_{what}", labels, count)


def _logged(log: PredictionLog) -> Iterator[Sample]:
    yield Sample("fivefold_predictions_logged", (), log.written)
    for reason, count in log.left_out.items():
        yield Sample("fivefold_predictions_not_logged", (reason,), count)
    yield Sample("fivefold_prediction_log_one_of", (), log.every)
    yield Sample("fivefold_prediction_log_waiting", (), log.waiting)


def _buckets(histogram: Histogram) -> Buckets:
    return Buckets(histogram.bounds, list(histogram.counts), histogram.total)
