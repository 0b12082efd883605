"""Every metric there is, with what it means; nothing else is shown, and a dashboard can name nothing else."""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec


class Kind(enum.StrEnum):
    """How a metric goes: counters only grow, until the server ends."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Together(enum.StrEnum):
    """What several workers have together: the sum of what they have, or the largest where all say the same thing."""

    SUM = "sum"
    MOST = "most"


class Family(NamedTuple):
    """A metric. Histograms are counted in integers, and shown divided by `scale`."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    together: Together = Together.SUM
    scale: float = 1.0


class Buckets(msgspec.Struct, frozen=True, array_like=True):
    """A histogram's upper bounds, its counts (one more, for what is above), and the sum of what was counted."""

    bounds: tuple[int, ...]
    counts: list[int]
    total: int


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """The value of a metric for some values of its labels."""

    name: str
    labels: tuple[str, ...]
    value: float | Buckets


_C, _G, _H, _MOST = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, Together.MOST
_VERSION = ("endpoint", "version")

FAMILIES = (
    Family("fivefold_requests", _C, "Requests for predictions, over any protocol, by what became of them.",
           (*_VERSION, "outcome")),
    Family("fivefold_rows", _C, "Rows that a version was asked, and whether they failed.", (*_VERSION, "outcome")),
    Family("fivefold_request_duration_seconds", _H,
           "From when a request was read to its answer, before that is encoded.", _VERSION, scale=1e9),
    Family("fivefold_features", _C, "Feature values that rows were answered from, by status.",
           (*_VERSION, "feature", "status")),
    Family("fivefold_batch_rows", _H, "Rows of one call of the model.", ("endpoint",)),
    Family("fivefold_calls", _C, "Calls of the model, alone or merged of several requests.", ("endpoint", "merged")),
    Family("fivefold_waiting_requests", _G, "Requests that wait for a call.", ("endpoint",)),
    Family("fivefold_waiting_rows", _G, "Rows of those.", ("endpoint",)),
    Family("fivefold_call_row_seconds", _G, "What one row more adds to a call, as fitted.", ("endpoint",), _MOST),
    Family("fivefold_call_once_seconds", _G, "What a call takes whatever its rows, as fitted.", ("endpoint",), _MOST),
    Family("fivefold_call_beyond_seconds", _G, "The 99th percentile of what calls take beyond the fit.",
           ("endpoint",), _MOST),
    Family("fivefold_concurrency_limit", _G, "Requests that may wait for long calls where no time is promised.",
           ("endpoint",)),
    Family("fivefold_slo_seconds", _G, "The time promised for an answer; absent where none is.", ("endpoint",), _MOST),
    Family("fivefold_rate_limited_requests", _C, "Requests refused because their caller asks too often."),
    Family("fivefold_cache_rows", _C,
           "Rows whose prediction was cached (hit), was being made for another row (wait), or was made (miss).",
           ("endpoint", "result")),
    Family("fivefold_cache_entries", _G, "Predictions in the cache.", ("endpoint",)),
    Family("fivefold_cache_bytes", _G, "What they take.", ("endpoint",)),
    Family("fivefold_feature_cache_rows", _C,
           "Rows whose entities had been read from the online store a moment before (hit), or were read (miss).",
           ("endpoint", "result")),
    Family("fivefold_feature_cache_entries", _G, "Entities in the cache of features.", ("endpoint",)),
    Family("fivefold_feature_cache_bytes", _G, "What their states take.", ("endpoint",)),
    Family("fivefold_serving", _G, "1 for the version that answers as champion.", (*_VERSION, "model"), _MOST),
    Family("fivefold_endpoint_ready", _G, "1 when there is a champion to answer and no newer one that cannot be used.",
           ("endpoint",), _MOST),
    Family("fivefold_rollout_share", _G, "The part of requests that a version on trial is asked.",
           (*_VERSION, "role"), _MOST),
    Family("fivefold_rollout_answers", _G, "Answers of champion and version on trial since the trial began.",
           (*_VERSION, "arm"), _MOST),
    Family("fivefold_rollout_failed", _G, "Those that failed.", (*_VERSION, "arm"), _MOST),
    Family("fivefold_rollout_late", _G, "Those that came too late.", (*_VERSION, "arm"), _MOST),
    Family("fivefold_rollout_labels", _G, "Labels that came for them.", (*_VERSION, "arm"), _MOST),
    Family("fivefold_rollout_differing_rows", _G, "Rows that a shadow answered otherwise than the champion.",
           _VERSION, _MOST),
    Family("fivefold_predictions_logged", _C, "Predictions written to the log."),
    Family("fivefold_predictions_not_logged", _C, "Predictions that are not in the log.", ("reason",)),
    Family("fivefold_prediction_log_one_of", _G, "One of so many predictions is logged: 1 while it keeps up.", (),
           _MOST),
    Family("fivefold_prediction_log_waiting", _G, "Predictions that wait to be written."),
    Family("fivefold_http_requests", _C, "Requests over HTTP; those that are no proper request have no route.",
           ("method", "route", "status")),
    Family("fivefold_grpc_requests", _C, "Calls over gRPC; of a stream, the stream.", ("method", "code")),
    Family("fivefold_connections", _G, "Clients that are connected over HTTP."),
    Family("fivefold_access_log_lines", _C, "Lines of the access log, written or dropped.", ("result",)),
    Family("fivefold_workers", _G, "Processes that answer."),
    Family("fivefold_workers_ended", _C, "Processes that are gone: told to leave, or died.", ("why",)),
    Family("fivefold_build_info", _G, "1, with the versions that run.", ("version", "python"), _MOST),
    Family("process_cpu_seconds", _C, "User and system time of all processes that answer."),
    Family("process_resident_memory_bytes", _G, "Memory of all processes that answer."),
    Family("process_open_fds", _G, "Open file descriptors of all processes that answer."),
    Family("process_start_time_seconds", _G, "When the youngest process that answers started, since 1970 UTC.", (),
           _MOST),
)  # fmt: skip
"""In the order in which they are shown. A counter's samples are shown with `_total` behind the name."""

BY_NAME = {family.name: family for family in FAMILIES}
