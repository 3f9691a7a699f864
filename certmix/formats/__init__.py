"""Others' files, and ours."""
