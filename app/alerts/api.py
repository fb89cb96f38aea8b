"""Contract 002 `/api/v1/alerts…`: alerts, thresholds, and silences in the same style."""

from collections.abc import Sequence

from flask import request

from app.actors import Permission
from app.alerts import bp, operations, queries
from app.alerts.catalogue import metrics
from app.alerts.models import Alert, ScopeKind, Threshold
from app.alerts.preview import would_have_fired
from app.alerts.rule_schemas import (
    MetricOut,
    PreviewIn,
    PreviewOut,
    SilenceOut,
    SilencePatch,
    SilencesQuery,
    ThresholdIn,
    ThresholdOut,
    ThresholdPatch,
    ThresholdsQuery,
)  # fmt: skip
from app.alerts.schemas import AcknowledgeIn, AlertOut, AlertsQuery
from app.fleet.queries import by_ids, require_computer
from app.tenants.queries import require_tenant
from app.web import access
from app.web.body import MAX_BODY, parse_object, read_raw, validate_json


def _shown(rows: Sequence[Alert]) -> list[AlertOut]:
    found, who = by_ids({row.computer_id for row in rows if row.computer_id is not None}), access.actor()
    computers = {number: computer for number, computer in found.items() if who.sees(computer.tenant_id)}
    return [AlertOut.of(row, computers.get(row.computer_id or 0)) for row in rows]


@bp.api("GET", "/api/v1/alerts", permission=Permission.ALERTS_READ, query=AlertsQuery, returns=list[AlertOut])
def list_alerts(query: AlertsQuery) -> list[AlertOut]:
    """List alerts, the newest first."""
    who = access.actor()
    if query.server_id:
        require_computer(query.server_id, who, "server_id")
    if query.tenant_id:
        require_tenant(query.tenant_id, who)
    if query.threshold_id:
        queries.get_threshold(query.threshold_id, who)
    return _shown(queries.page(query.filter(who.tenant_ids), query.limit, query.skip, "-fired"))


@bp.api("GET", "/api/v1/alerts/<alert_id>", permission=Permission.ALERTS_READ, returns=AlertOut)
def get_alert(alert_id: str) -> AlertOut:
    """Get one alert."""
    return _shown([queries.get_alert(alert_id, access.actor())])[0]


@bp.api("POST", "/api/v1/alerts/<alert_id>/resolve", permission=Permission.ALERTS_WRITE, returns=AlertOut)
def resolve_alert(alert_id: str) -> AlertOut:
    """Resolve an alert; again, it changes nothing. While its limit stays crossed it does not come again for an hour."""
    alert = queries.get_alert(alert_id, access.actor())
    return _shown([operations.resolve_one(alert, actor=access.actor())])[0]


@bp.api("POST", "/api/v1/alerts/<alert_id>/acknowledge", permission=Permission.ALERTS_WRITE, returns=AlertOut,
        documented=AcknowledgeIn)  # fmt: skip
def acknowledge_alert(alert_id: str) -> AlertOut:
    """Take an active alert in hand, with a note or none; 409 when it is not active."""
    raw = read_raw(request, MAX_BODY)
    if raw.strip():
        parse_object(raw)
    note = validate_json(AcknowledgeIn, raw).note if raw.strip() else None
    alert = queries.get_alert(alert_id, access.actor())
    return _shown([operations.acknowledge_one(alert, actor=access.actor(), note=note)])[0]


@bp.api("GET", "/api/v1/alerts/metrics", permission=Permission.ALERTS_READ, returns=list[MetricOut])
def list_metrics() -> list[MetricOut]:
    """List what thresholds can be about."""
    return [MetricOut(metric_type=one.key, label=one.label, unit=one.unit, subject=one.subject, lowest=one.lowest,
                      highest=one.highest, argument=one.arguments) for one in metrics()]  # fmt: skip


# -- thresholds --------------------------------------------------------------------------------------------------------


@bp.api("GET", "/api/v1/alerts/thresholds", permission=Permission.ALERTS_READ, query=ThresholdsQuery, returns=list[ThresholdOut])
def list_thresholds(query: ThresholdsQuery) -> list[ThresholdOut]:
    """List thresholds by name."""
    who = access.actor()
    only = require_computer(query.server_id, who, "server_id") if query.server_id else None
    target = require_computer(query.applies_to, who, "applies_to") if query.applies_to else only
    rows = queries.thresholds(who.tenant_ids, target, query.metric_type)
    if only is not None:
        rows = [row for row in rows if row.scope is ScopeKind.COMPUTER and row.scope_id == only.uuid]
    return [ThresholdOut.of(row) for row in rows[query.skip : query.skip + query.limit]]


@bp.api(
    "POST", "/api/v1/alerts/thresholds", permission=Permission.ALERTS_WRITE, body=ThresholdIn, returns=ThresholdOut, status=201
)
def create_threshold(body: ThresholdIn) -> ThresholdOut:
    """Create a threshold for a server (`server_id`), a tag, a tenant, or all that one sees."""
    return ThresholdOut.of(operations.create_threshold(body.values(), actor=access.actor()))


@bp.api("POST", "/api/v1/alerts/thresholds/preview", permission=Permission.ALERTS_READ, body=PreviewIn, returns=PreviewOut,
        begins_own_write=True)  # fmt: skip
def preview_threshold(body: PreviewIn) -> PreviewOut:
    """Tell how often a threshold would have fired in the last days, from the history of what is in its scope."""
    return PreviewOut.of(would_have_fired(body.values(), body.days, actor=access.actor()), body.days)


def _threshold(threshold_id: str) -> Threshold:
    return queries.get_threshold(threshold_id, access.actor())


@bp.api("GET", "/api/v1/alerts/thresholds/<threshold_id>", permission=Permission.ALERTS_READ, returns=ThresholdOut)
def get_threshold(threshold_id: str) -> ThresholdOut:
    """Get one threshold."""
    return ThresholdOut.of(_threshold(threshold_id))


@bp.api("PUT", "/api/v1/alerts/thresholds/<threshold_id>", permission=Permission.ALERTS_WRITE, body=ThresholdPatch,
        returns=ThresholdOut)  # fmt: skip
def update_threshold(threshold_id: str, body: ThresholdPatch) -> ThresholdOut:
    """Update a threshold: what is given changes."""
    row = _threshold(threshold_id)
    return ThresholdOut.of(operations.update_threshold(row, body.changes(row), actor=access.actor()))


@bp.api("DELETE", "/api/v1/alerts/thresholds/<threshold_id>", permission=Permission.ALERTS_WRITE, status=204)
def delete_threshold(threshold_id: str) -> None:
    """Delete a threshold; its open alerts are resolved, the history stays."""
    operations.delete_threshold(_threshold(threshold_id), actor=access.actor())


# -- silences ----------------------------------------------------------------------------------------------------------


@bp.api("GET", "/api/v1/alerts/silences", permission=Permission.ALERTS_READ, query=SilencesQuery, returns=list[SilenceOut])
def list_silences(query: SilencesQuery) -> list[SilenceOut]:
    """List silences and maintenance windows."""
    rows = queries.silences(access.actor().tenant_ids, over=query.over, limit=query.limit, offset=query.skip)
    return [SilenceOut.of(row) for row in rows]


@bp.api("POST", "/api/v1/alerts/silences", permission=Permission.ALERTS_WRITE, body=SilencePatch, returns=SilenceOut, status=201)
def create_silence(body: SilencePatch) -> SilenceOut:
    """Create a silence from `starts_at` (now) to `ends_at`, perhaps repeated: what is in its scope is raised, but muted."""
    return SilenceOut.of(operations.create_silence(body.changes(), actor=access.actor()))


@bp.api("GET", "/api/v1/alerts/silences/<silence_id>", permission=Permission.ALERTS_READ, returns=SilenceOut)
def get_silence(silence_id: str) -> SilenceOut:
    """Get one silence."""
    return SilenceOut.of(queries.get_silence(silence_id, access.actor()))


@bp.api("PUT", "/api/v1/alerts/silences/<silence_id>", permission=Permission.ALERTS_WRITE, body=SilencePatch, returns=SilenceOut)
def update_silence(silence_id: str, body: SilencePatch) -> SilenceOut:
    """Update a silence: what is given changes."""
    row = queries.get_silence(silence_id, access.actor())
    return SilenceOut.of(operations.update_silence(row, body.changes(row), actor=access.actor()))


@bp.api("DELETE", "/api/v1/alerts/silences/<silence_id>", permission=Permission.ALERTS_WRITE, status=204)
def delete_silence(silence_id: str) -> None:
    """Delete a silence, which ends it."""
    operations.delete_silence(queries.get_silence(silence_id, access.actor()), actor=access.actor())
