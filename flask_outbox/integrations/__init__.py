"""Adapters for other Flask extensions that send mail, one module each; only that module imports the extension."""
