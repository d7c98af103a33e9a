"""The development mailbox: a Maildir, and the pages that show what is in it. Never in production."""
