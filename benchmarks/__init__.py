"""One step of training, as sgc and its peers take it, measured side by side: `make bench`."""
