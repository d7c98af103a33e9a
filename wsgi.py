"""What a web server and the ``flask`` command load: ``gunicorn wsgi:app``."""

import sys

from flask_outbox import ConfigurationError
from flasky import create_app

try:
    app = create_app()
except ConfigurationError as error:
    sys.exit(str(error))
