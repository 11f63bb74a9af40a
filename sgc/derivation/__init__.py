"""The derivation: two graphs and a pattern of labels -> a plan. Nothing here imports torch."""
