"""Keep: the tables of the outbox, and everything that may happen to a row. No SMTP, no RQ."""
