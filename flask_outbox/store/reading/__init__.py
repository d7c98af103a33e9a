"""What an operator can look up: one email with its history and the answer to "did she get it?", lists, and a search."""
