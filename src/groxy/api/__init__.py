"""Public HTTP under /v1: bytes in, one call, bytes out. Endpoints are raw ASGI callables."""
