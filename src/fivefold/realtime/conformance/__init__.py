"""Does a server speak the Open Inference Protocol v2? Each check asks one question and says what was wrong.

`asking` sends, `sample` makes requests from a model's metadata, `http_checks`, `refusal_checks`, `binary_checks` and
`grpc_checks` are the questions, `run` asks them.
"""
