"""`edge-fer convert --detector`: a float detector to int8, and how alike the two are."""
