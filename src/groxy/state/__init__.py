"""Fast state that processes share: cool-downs of accounts now, limits and holds later.

`memory` serves one process, `redis` any number; the same tests run on both.
"""
