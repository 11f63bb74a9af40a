"""Measures of a model on rows with known labels: bounds, errors, calibration, and collapsed nodes."""
