"""Pages for a browser: one file each, which opens by a double click and asks nothing of a network."""
