"""Sample data for the mail to the administrator about a new name."""

from flasky.models import User

subject = "New User"


def default():
    """A usual name."""
    return {"user": User(username="susan")}


def long_name():
    """The longest name that the form takes."""
    return {"user": User(username="Hubert Blaine Wolfeschlegelsteinhausenbergerdorff, Sr. of Berlin")}


def symbols():
    """A name that HTML has to escape, and plain text must not."""
    return {"user": User(username="Fish & Chips <Ltd>")}
