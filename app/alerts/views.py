"""Alerts as CSV."""

from flask import Response, request

from app.actors import Permission
from app.alerts import bp, queries
from app.alerts.schemas import CSV_COLUMNS, AlertsQuery, csv_row
from app.web import csv, pages
from app.web.body import validate_query


@bp.page("/alerts.csv", permission=Permission.ALERTS_READ)
def download() -> Response:
    """The filters of `GET /api/v1/alerts` as CSV, the newest first."""
    wanted = validate_query(AlertsQuery, request).filter(pages.scope())
    return csv.stream(CSV_COLUMNS, map(csv_row, queries.each(wanted, "-fired")), "alerts")
