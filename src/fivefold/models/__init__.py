"""Models as data: fitted, measured, packaged, loaded safely, judged."""
