"""Durable work: steps that are journalled, so that a killed run goes on where it was."""
