"""``python -m flasky.config``: check the configuration, and list every problem.

The Procfile runs it before gunicorn, which reads WEB_CONCURRENCY while it is imported and fails there with a traceback.
"""

import sys

from flasky.config import ConfigurationError, Settings

if __name__ == "__main__":
    try:
        Settings.from_env()
    except ConfigurationError as error:
        sys.exit(str(error))
