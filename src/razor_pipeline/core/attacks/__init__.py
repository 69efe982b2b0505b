"""Attacks on a model that is said to have forgotten."""
