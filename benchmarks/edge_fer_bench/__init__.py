"""The benchmark: what a user will wait for, per stage, and what quantisation cost."""
