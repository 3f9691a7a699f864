"""One canvas, a file per figure."""
