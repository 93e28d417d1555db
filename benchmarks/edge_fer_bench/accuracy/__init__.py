"""What int8 costs: on crops, per group, on spoilt faces, and after detection."""
