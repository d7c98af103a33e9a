"""One connection to the server, from the socket to the conversation."""
