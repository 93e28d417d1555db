"""Changes to a float model that make its int8 form better."""
