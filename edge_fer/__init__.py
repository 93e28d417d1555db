"""edge-fer: facial-expression recognition on a Raspberry Pi or Coral, in int8, with its numbers."""

__version__ = "0.1.0"
