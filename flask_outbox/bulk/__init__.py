"""One mail, many people: the mail merge behind ``flask mail send-many``."""
