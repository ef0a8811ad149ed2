"""Wire protocols, both ends each: what JSON and streams mean. Pure: no I/O, no vendor, no store."""
