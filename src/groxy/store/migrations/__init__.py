"""Alembic migrations. One file a change in `versions/`; they only add, or expand then contract."""
