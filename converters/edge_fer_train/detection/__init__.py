"""Training of the face detector that ships: scenes, composites, network, loss, loop."""
