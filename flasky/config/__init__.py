"""The site's settings: every environment variable, typed, checked and documented."""

from flasky.config.settings import ROOT, ConfigurationError, Settings

__all__ = ["ROOT", "ConfigurationError", "Settings"]
