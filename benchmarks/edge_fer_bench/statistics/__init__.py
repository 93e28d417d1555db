"""Intervals of times and of ratios."""
