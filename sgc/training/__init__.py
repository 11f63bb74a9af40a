"""Training: the steps, the optimiser, and the state from which a run is resumed."""
