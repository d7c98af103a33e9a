"""Look for what keeps mail from going out or from arriving: settings, database, Redis, workers, SMTP server, DNS."""

from .examination import Options, examine
from .finding import Finding, Level

__all__ = ["Finding", "Level", "Options", "examine"]
