"""The audit page over the journal, its check of the hash chain, and its CSV."""

from urllib.parse import urlencode

import orjson
from flask import Response, render_template, request

from app.actors import Permission
from app.journal import bp, queries
from app.journal.schemas import CSV_COLUMNS, AuditQuery
from app.web import csv, pages
from app.web.body import validate_query

pages.add_settings(pages.SettingsTab("audit", "Audit", "/settings/audit", Permission.AUDIT_READ, place=90))


@bp.page("/settings/audit", permission=Permission.AUDIT_READ)
def index() -> str:
    """Everything that happened, newest first."""
    query = validate_query(AuditQuery, request)
    wanted = query.filter()
    total = queries.count_entries(wanted)
    filters = {k: v for k, v in query.model_dump(mode="json", exclude={"page", "per_page"}).items() if v}
    return render_template(
        "journal/index.html", entries=queries.page_of_entries(wanted, query.page, query.per_page), total=total,
        page=query.page, per_page=query.per_page, pages=max(1, -(-total // query.per_page)), filters=filters,
        query=urlencode(filters), types=queries.types(), page_title="Audit",
        broken=queries.first_broken_link() if request.args.get("verify") else None,
        verified=bool(request.args.get("verify")),
    )  # fmt: skip


@bp.page("/settings/audit.csv", permission=Permission.AUDIT_READ)
def download() -> Response:
    """The same filters as CSV."""
    wanted = validate_query(AuditQuery, request).filter()
    rows = ([orjson.dumps(e.data).decode() if name == "data" else getattr(e, name) for name in CSV_COLUMNS]
            for e in queries.each_entry(wanted))  # fmt: skip
    return csv.stream(CSV_COLUMNS, rows, "audit")
