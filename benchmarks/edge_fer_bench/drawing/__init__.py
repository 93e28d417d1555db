"""What a part of a report is, and what its pictures are drawn with."""
