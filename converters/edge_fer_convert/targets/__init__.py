"""Where a model is to run, and what that asks of it."""
