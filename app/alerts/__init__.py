"""Alerts: thresholds on what is measured and on what is reported, the alerts that they raise, and silences."""

from app.web.routing import Room

bp = Room("alerts", __name__)
