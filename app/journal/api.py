"""`/api/v1/audit`: the journal, filtered and paged."""

from app.actors import Permission
from app.journal import bp, queries
from app.journal.schemas import AuditPage, AuditQuery, EntryOut


@bp.api("GET", "/api/v1/audit", permission=Permission.AUDIT_READ, query=AuditQuery, returns=AuditPage)
def audit(query: AuditQuery) -> AuditPage:
    """Everything that happened, newest first: who, what, when, from where."""
    wanted = query.filter()
    entries = queries.page_of_entries(wanted, query.page, query.per_page)
    return AuditPage(total=queries.count_entries(wanted), page=query.page, per_page=query.per_page,
                     entries=[EntryOut.of(entry) for entry in entries])  # fmt: skip
