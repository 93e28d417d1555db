"""The share of the machine's int8 peak that each network reaches."""
