"""Who may ask, how often, and whether they can pay. Decides on values; sees no upstream."""
