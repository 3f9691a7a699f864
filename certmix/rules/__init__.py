"""How g and h become one classifier: a rule per file."""
