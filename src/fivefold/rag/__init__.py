"""Answers from documents, each sentence of them checked."""
