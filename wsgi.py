"""The WSGI application: `gunicorn -c app/gunicorn_conf.py wsgi:app`."""

import sys

from app import create_app
from app.config import ConfigError
from app.system.bootstrap import prepare

try:
    app = create_app()
    prepare(app)
except ConfigError as error:
    sys.stderr.write(f"binnacle: {error}\n")
    sys.exit(3)  # gunicorn gives up on 3 (a worker that failed to boot); on any other status it would try for ever
