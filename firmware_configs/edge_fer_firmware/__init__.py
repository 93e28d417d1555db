"""Files for the card that a device boots from."""
