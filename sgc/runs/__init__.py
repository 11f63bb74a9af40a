"""The folder of a run: its files, its lock, and whether a run may start or go on in it."""
