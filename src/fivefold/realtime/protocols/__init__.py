"""Wire formats: each a pair of pure functions, from what a client sent to a `Batch` and from an `Outcome` to an answer.

`batch` is what they share, `bounds` what none of them lets in; `own`, `oip_rest`, `oip_grpc`, `tfserving` and `mlflow`
are one format each. None of them knows a server.
"""
