"""Pictures and values from a trained model: samples, reconstructions, categories, traversals."""
