"""What a web server and the ``flask`` command load: ``gunicorn wsgi:app``."""

import sys

from flasky import create_app
from flasky.config import ConfigurationError

try:
    app = create_app()
except ConfigurationError as error:
    sys.exit(str(error))
