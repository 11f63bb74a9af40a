"""Training: the steps, the optimiser, the state that a run goes on from."""
