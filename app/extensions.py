"""The extensions, made once and bound by `create_app`."""

import os
from typing import Any

from flask import Flask
from flask_limiter import Limiter
from flask_login import LoginManager
from flask_sock import Sock
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from htmx_flask import Htmx
from sqlalchemy.pool import QueuePool

from app.config import Settings
from app.database import Base, configure_engine, dump_json
from app.rate_counts import Windows

db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
login = LoginManager()
limiter = Limiter(key_func=lambda: "", headers_enabled=False)
sock = Sock()
csrf = CSRFProtect()
htmx = Htmx()


def engine_options(settings: Settings) -> dict[str, Any]:
    """What `create_engine` needs for the configured database."""
    options: dict[str, Any] = {"json_serializer": dump_json, "poolclass": QueuePool}
    if settings.sqlalchemy_url.startswith("sqlite"):
        return options | {"pool_size": 16, "max_overflow": 16, "connect_args": {"check_same_thread": False, "timeout": 0}}
    return options | {
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": 10,
        "connect_args": {"connect_timeout": 5, "application_name": "binnacle"},
    }


def init_app(app: Flask, settings: Settings) -> None:
    """Bind all of them."""
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.sqlalchemy_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings)
    app.config["RATELIMIT_STORAGE_URI"] = settings.redis_url or f"{Windows.STORAGE_SCHEME[0]}://"
    app.config["RATELIMIT_ENABLED"] = True
    app.config["RATELIMIT_STORAGE_OPTIONS"] = {"wrap_exceptions": True} if settings.redis_url else {}
    db.init_app(app)
    with app.app_context():
        configure_engine(db.engine)
    login.init_app(app)
    app.extensions["limiter"] = {limiter}  # known already, so it adds no hooks to every request: app.web.limits asks it
    limiter.init_app(app)
    sock.init_app(app)
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true":  # `flask db …`, which writes migrations; it brings alembic, 12 MB
        from flask_migrate import Migrate

        Migrate(app, db, directory=str(app.config["MIGRATIONS_DIR"]), render_as_batch=True)
    csrf.init_app(app)
    htmx.init_app(app)
