"""Proxies: the exits that sessions go through, with their health, altogether and for each target host, and active checks."""

from flask import Flask

from app.web.routing import Room

bp = Room("proxies", __name__)


def init_app(_app: Flask) -> None:
    """Say what depends on the secret key besides sealed texts."""
    from app.proxies.operations import fingerprint_anew
    from app.vault import made_anew

    if fingerprint_anew not in made_anew:
        made_anew.append(fingerprint_anew)
