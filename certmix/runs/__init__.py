"""What was drawn, as typed records in a run folder."""
