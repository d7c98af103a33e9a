"""Benchmarks: how fast Flask-Outbox is beside its peers on this machine; ``make bench`` runs them."""
