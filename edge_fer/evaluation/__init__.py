"""Data readers, label schemes and metrics: one definition for convert, benchmark and evaluate."""
