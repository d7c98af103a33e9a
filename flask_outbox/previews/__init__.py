"""Previews: each mail of the app, rendered with sample data from a file beside its template, and what lint says of it."""
