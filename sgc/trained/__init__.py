"""What a trained run is asked for: its evaluation, and predictions for new rows."""
