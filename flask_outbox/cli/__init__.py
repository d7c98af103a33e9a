"""``flask mail ...``: each command parses, calls one function and prints."""
