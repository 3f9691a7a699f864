"""Base classifiers that are worth smoothing."""
