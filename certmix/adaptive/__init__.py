"""Section 4: a mixing weight per input, from the network to its certificates."""
