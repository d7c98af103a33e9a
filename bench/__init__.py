"""Benchmarks: how fast Flasky is, beside what else there is, on this machine; ``make bench`` runs them."""
