"""Pictures and values that a trained model makes: samples, reconstructions, categories, traversals."""
