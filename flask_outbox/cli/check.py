"""The command that compares the real tables with the expected ones: check."""
