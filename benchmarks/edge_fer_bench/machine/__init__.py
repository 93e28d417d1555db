"""The machine: what it is, what it did during a run, what a run cost it."""
