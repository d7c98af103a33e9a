"""Write: from addresses and templates to the bytes of a message. No database, no network."""
