"""The boot partition: its two edited files, the Imager's manifest, and putting files onto it."""
