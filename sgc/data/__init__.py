"""Data: from the source of a spec to rows of node values. Nothing here imports torch; `sources` no numpy, either."""
