"""Fast state that processes share: rests, loads and homes of accounts, leases, jobs.

`memory` serves one process, `redis` any number; the same tests run on both. Nothing here is a
book: what is lost with a restart of the server is learned again.
"""
