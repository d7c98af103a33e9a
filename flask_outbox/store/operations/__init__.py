"""What an operator may read in the outbox, and do to it."""
