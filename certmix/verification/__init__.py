"""Runs checked by other arithmetic."""
