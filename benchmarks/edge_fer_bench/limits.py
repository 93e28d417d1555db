"""What a drop is judged by where the user sets no limit, in percentage points."""

from __future__ import annotations

__all__ = ["MAX_CLASS_DROP", "MAX_DROP"]

MAX_DROP = 0.5
MAX_CLASS_DROP = 3.0
