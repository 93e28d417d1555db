"""Which recipe is good enough."""
