"""Studies: the same question over many targets and seeds, cell by resumable cell, and the tables they end in."""
