"""Carries due emails from the store to the SMTP server: threads, bells, the RQ worker."""
