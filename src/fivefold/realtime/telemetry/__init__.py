"""What is told of a running server: numbers for Prometheus, traces for OpenTelemetry, a line for each request.

Read: tally (counted while answering), families (every metric there is), measuring (their values), workers (those of all
processes), exposition (as text), metrics_http; then stages, tracing, access_log, watching (what sees each request).
"""
