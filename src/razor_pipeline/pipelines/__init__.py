"""The pipelines: a node unpacks, calls the science, and returns."""
