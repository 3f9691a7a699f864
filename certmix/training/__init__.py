"""Base classifiers that are worth smoothing: `train` in one call, `fit` with validation, checkpoints and a recipe."""
