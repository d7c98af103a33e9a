"""What becomes of an email: the decision, and its record."""
