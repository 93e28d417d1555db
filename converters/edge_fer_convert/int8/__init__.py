"""The int8 model: made, proven, finished."""
