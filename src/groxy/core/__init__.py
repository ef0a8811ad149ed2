"""Values that every layer shares: requests, events, usage, money, errors. No I/O, no clocks."""
