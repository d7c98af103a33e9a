"""Figures about the whole outbox: its health, what goes out and how fast, what failed, and which workers run."""
