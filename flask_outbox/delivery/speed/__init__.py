"""How fast mail goes out: as MAIL_RATE says, and as the server asks."""
