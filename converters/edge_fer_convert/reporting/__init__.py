"""What a conversion did and what it cost."""
