"""Money and its proof: what an attempt cost, and the books that say so."""
