"""Signs messages with DKIM (RFC 6376), by RSA (RFC 8301) and Ed25519 (RFC 8463)."""
