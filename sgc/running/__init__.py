"""Runs: training, the folder they are kept in, and what is done with a trained model."""
