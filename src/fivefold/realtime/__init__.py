"""Answers, one request at a time: an endpoint looks features up, derives, predicts and logs."""
