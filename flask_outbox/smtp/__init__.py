"""Speak: one server, one connection, and all that is known about what servers say. No database."""
