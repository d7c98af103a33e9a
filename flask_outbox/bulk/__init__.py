"""Send one mail merge to many recipients: what ``flask mail send-many`` does."""
