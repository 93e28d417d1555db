"""The representative pictures, and that they stay apart from the evaluation."""
