"""What an operator may see of the outbox, and do to it."""
