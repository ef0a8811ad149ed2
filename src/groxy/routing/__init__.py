"""Routing: which models there are, which pools and accounts may serve them, and in what order."""
