"""What an operator can do: retry, cancel, delete, send again; and the audit of it."""
