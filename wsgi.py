"""The WSGI application: `gunicorn -c app/gunicorn_conf.py wsgi:app`."""

import gc
import sys

from app import create_app
from app.config import ConfigError
from app.system.bootstrap import prepare

try:
    app = create_app()
    prepare(app)
    gc.collect()
    gc.freeze()  # what the boot made stays for good: no collection need look at it again
except ConfigError as error:
    sys.stderr.write(f"binnacle: {error}\n")
    sys.exit(3)  # gunicorn gives up on 3 (a worker that failed to boot); on any other status it would try for ever
