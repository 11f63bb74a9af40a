"""Transforms of columns of the data: what is done to cells before a model sees them, and how it is undone."""
