"""How the database is reached: the host's engine and session, a worker's connection, clocks and locks."""
