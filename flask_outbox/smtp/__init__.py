"""Speaks SMTP to one server over one connection, and knows what servers say. Touches no database."""
