"""Jobs: work that outlives the request that asked for it, done once, by one process at a time."""
