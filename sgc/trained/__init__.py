"""Uses of a trained run: its evaluation, and predictions for new rows."""
