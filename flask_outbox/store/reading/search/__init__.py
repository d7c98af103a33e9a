"""Search the outbox: a line that an operator types, and the emails that it finds, a bounded piece at a time."""

from .conditions import condition
from .query import Query, parse, quoted
from .scan import Found, Number, Search
from .words import NotUnderstood, without

__all__ = ["Found", "NotUnderstood", "Number", "Query", "Search", "condition", "parse", "quoted", "without"]
