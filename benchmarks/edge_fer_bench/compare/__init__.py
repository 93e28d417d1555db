"""Earlier results: read, published, and compared with."""
