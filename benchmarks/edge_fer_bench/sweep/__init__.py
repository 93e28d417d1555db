"""Many variants in turns: tables, fits and the Pareto picture."""
