"""Unlearning as a stream of requests: ledger, deadlines, gates, promotion, evidence."""
