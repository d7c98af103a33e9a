"""Carry: brings the store and the SMTP server together, with its threads, its bells and the RQ worker."""
