"""Pictures of models: the two graphs side by side, and computation graphs."""
