"""Metrics: samples as they arrive, their rollups and retention, the latest values and the history."""

from flask import Flask

from app.web.routing import Room

bp = Room("metrics", __name__)


def init_app(app: Flask) -> None:
    """Give the process its sample writer, and let deleted computers' samples be purged."""
    from app.fleet.operations import deletion_hooks
    from app.metrics.rollups import mark_for_purge
    from app.metrics.writer import SampleWriter

    app.extensions["binnacle_writer"] = SampleWriter(app)
    if mark_for_purge not in deletion_hooks:
        deletion_hooks.append(mark_for_purge)
