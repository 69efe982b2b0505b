"""Studies: one question over many targets and seeds, cell by resumable cell, and their tables."""
