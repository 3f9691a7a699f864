"""Classifier + data set -> draws: the planner, the loop, the processes that share it."""
