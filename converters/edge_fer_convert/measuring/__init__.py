"""What the activations of a float model are like."""
