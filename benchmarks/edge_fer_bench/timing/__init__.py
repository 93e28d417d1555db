"""How frames and starts are timed."""
