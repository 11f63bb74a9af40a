"""Trackers: TensorBoard, MLflow and Weights & Biases, which are told what training measures and show it."""
