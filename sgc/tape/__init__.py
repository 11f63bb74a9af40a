"""Computations on tensors, recorded as lists of operations and run again."""
