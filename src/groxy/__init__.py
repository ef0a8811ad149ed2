"""Groxy: the Grok API gateway that you own. Start reading at ARCHITECTURE.md."""

__version__ = "0.1.0"
