"""Starting specs: a model guessed from what a file or a folder holds."""
