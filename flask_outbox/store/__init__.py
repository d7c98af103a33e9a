"""Keeps the outbox in the host's database: the tables, and every change of a row. Speaks no SMTP."""
