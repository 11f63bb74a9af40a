"""What a trained run is worth, on one page: measured first, as data, then written; and several runs side by side."""
