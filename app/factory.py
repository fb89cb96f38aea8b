"""The bare Flask object: folders, cookies, JSON. `create_app` puts the rest on it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from flask import Flask, Request, Response
from flask.json.provider import JSONProvider
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from itsdangerous import URLSafeTimedSerializer

from app.config import Settings
from app.vault import Vault

ROOT = Path(__file__).resolve().parent.parent


class OrjsonProvider(JSONProvider):
    """JSON through orjson: aware times as RFC 3339 with a Z, NaN never."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return orjson.dumps(obj, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)


class CookieSessions(SecureCookieSessionInterface):
    """Flask's cookie sessions, with one signer for all requests and no work for those that bring no cookie (programs)."""

    _signer: URLSafeTimedSerializer | None = None

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        if self._signer is None:
            self._signer = super().get_signing_serializer(app)
        return self._signer

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return super().open_session(app, request) if "HTTP_COOKIE" in request.environ else self.session_class()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session.accessed or session.modified:
            super().save_session(app, session, response)


def make_flask(settings: Settings) -> Flask:
    """A Flask with the product's folders and cookie rules (RELIABILITY 5)."""
    app = Flask("app", root_path=str(ROOT / "app"), template_folder=str(ROOT / "templates"), static_folder=None)
    app.json = OrjsonProvider(app)
    app.session_interface = CookieSessions()
    assert settings.secret_key is not None
    secure = settings.network_mode
    app.config.update(
        BINNACLE=settings,
        SECRET_KEY=settings.secret_key.get_secret_value(),
        MIGRATIONS_DIR=ROOT / "migrations",
        STATIC_DIR=ROOT / "static",
        SESSION_COOKIE_NAME="__Host-binnacle" if secure else "binnacle",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        PERMANENT_SESSION_LIFETIME=timedelta(minutes=settings.session_absolute_minutes),
        SESSION_REFRESH_EACH_REQUEST=False,
        WTF_CSRF_CHECK_DEFAULT=False,  # app.web.csrf decides, by how the caller proved who it is
        WTF_CSRF_TIME_LIMIT=None,  # the token lives as long as the login
        WTF_CSRF_FIELD_NAME="csrf_token",
        MAX_FORM_PARTS=1000,
        TEMPLATES_AUTO_RELOAD=False,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.url_map.strict_slashes = False
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    return app


def vault_of(app: Flask) -> Vault:
    """What seals and opens secrets that are kept in the database."""
    vault: Vault | None = app.extensions.get("binnacle_vault")
    if vault is None:
        settings = settings_of(app)
        secrets = [one.get_secret_value() for one in (settings.secret_key, settings.secret_key_previous) if one is not None]
        vault = app.extensions["binnacle_vault"] = Vault(secrets)
    return vault


def settings_of(app: Flask) -> Settings:
    """The settings the application was built with."""
    settings: Settings = app.config["BINNACLE"]
    return settings
