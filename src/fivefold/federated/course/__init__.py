"""The course of a declared federation: one sum after another, each asked by what the sums before have told."""
