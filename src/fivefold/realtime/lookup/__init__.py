"""The features of a project for entities at a moment."""
