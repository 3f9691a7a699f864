"""What only reproduces the paper's tables."""
