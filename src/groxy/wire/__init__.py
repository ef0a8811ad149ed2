"""Bytes in and out: strict JSON, SSE framing, the HTTP client. Knows no vendor and no dialect."""
