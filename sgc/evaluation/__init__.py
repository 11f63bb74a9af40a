"""Measures of a model on rows with known labels: bounds, errors, calibration, and what has gone dead in it."""
