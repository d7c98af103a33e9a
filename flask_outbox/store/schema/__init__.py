"""Compares the real tables with the expected ones, and writes the SQL that removes the differences."""
