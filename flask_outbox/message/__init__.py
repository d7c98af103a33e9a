"""Writes a message: from addresses and templates to bytes. Touches no database and no network."""
