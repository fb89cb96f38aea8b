"""The WSGI application: `gunicorn -c app/gunicorn_conf.py wsgi:app`."""

from app import create_app
from app.system.bootstrap import prepare

app = create_app()
prepare(app)
