"""What happened to an alert, what else happened around it, and the chart that shows it."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from app.alerts.catalogue import metric_of
from app.alerts.models import Alert, Comparison, Severity, Threshold
from app.alerts.words import REASONS, lasted
from app.clock import now
from app.database import session
from app.fleet.models import Computer
from app.journal.models import JournalEntry
from app.journal.queries import EntryFilter, page_of_entries
from app.runs.models import Run, RunStatus, RunStep, StepStatus
from app.runs.queries import visible_ids
from app.web.timeline import Moment, add_moments

MOST = 200
AROUND = timedelta(minutes=5)
CHARTS = {"cpu": "CPU", "memory": "Memory", "disk": "Disk", "network": "Network", "load": "Load"}


def moments(alert: Alert) -> Iterable[Moment]:
    """What the journal knows of it, and since when its limit was crossed."""
    yield Moment(alert.pending_since, "circle-dashed", "Limit crossed", "pending until it has held for long enough")
    for entry in page_of_entries(EntryFilter(subject_kind="alert", subject_id=alert.id), 1, MOST):
        yield _moment(entry)


def _moment(entry: JournalEntry) -> Moment:
    data = entry.data
    severity = str(data.get("severity") or "")
    who = entry.actor_name if entry.actor_kind != "system" else ""
    tone = "bad" if severity == Severity.CRITICAL else "warn"
    match entry.type:
        case "alert.fired":
            muted = ", muted by a silence" if data.get("muted") else ""
            return Moment(
                entry.at,
                "bell",
                "Fired as a warning" if severity == Severity.WARNING else f"Fired as {severity}",
                f"{data.get('message') or ''}{muted}",
                tone=tone,
            )
        case "alert.escalated":
            again = "; active again, though it had been acknowledged" if data.get("reopened") else ""
            return Moment(entry.at, "arrow-up", "Became critical", f"{data.get('message') or ''}{again}", tone="bad")
        case "alert.deescalated":
            return Moment(entry.at, "arrow-down", "Only a warning now", str(data.get("message") or ""))
        case "alert.acknowledged":
            return Moment(entry.at, "eye", "Acknowledged", str(data.get("note") or ""), who)
        case "alert.unacknowledged":
            return Moment(entry.at, "eye-off", "Nobody is on it any more", "", who)
        case "alert.muted":
            return Moment(entry.at, "bell-off", "Muted", "a silence began")
        case "alert.unmuted":
            return Moment(entry.at, "bell", "No longer muted", "the silence is over")
        case "alert.reopened":
            return Moment(entry.at, "refresh", "Opened again", "", who, "warn")
        case "alert.resolved":
            reason, seconds = str(data.get("reason") or ""), data.get("duration_s")
            after = f"after {lasted(float(seconds))}" if isinstance(seconds, (int, float)) else ""
            why = "" if reason == "person" else REASONS.get(reason, reason)
            return Moment(entry.at, "circle-check", "Resolved", ": ".join(filter(None, (after, why))), who, "ok")
    return Moment(entry.at, "circle-dot", entry.type.removeprefix("alert.").replace("_", " ").capitalize(), "", who)


add_moments("alert", moments)


def span(alert: Alert) -> tuple[Any, Any]:
    """From when its limit was crossed until it was over, or now."""
    return alert.pending_since, alert.resolved_at or now()


def around(alert: Alert, scope: frozenset[str] | None, limit: int = 20) -> list[Moment]:
    """What else happened to its computer while it lasted, and shortly before: status changes and failed runs, oldest first."""
    if alert.computer_id is None or alert.computer_uuid is None:
        return []
    start, end = span(alert)
    start -= AROUND
    query = select(JournalEntry).where(
        JournalEntry.subject_kind == "computer", JournalEntry.subject_id == alert.computer_uuid,
        JournalEntry.type == "computer.status_changed", JournalEntry.at >= start, JournalEntry.at <= end,
    )  # fmt: skip
    found = [_status(entry) for entry in session().scalars(query.order_by(JournalEntry.seq).limit(limit))]
    steps: Any = select(RunStep, Run).join(Run, Run.id == RunStep.run_id).where(
        RunStep.computer_uuid == alert.computer_uuid, RunStep.status == StepStatus.FAILED, RunStep.finished_at >= start,
        RunStep.finished_at <= end,
    )  # fmt: skip
    found_steps = session().execute(steps.order_by(RunStep.finished_at).limit(limit)).all()
    seen = set(visible_ids([run.id for _, run in found_steps], scope))
    for step, run in found_steps:
        if run.id not in seen:
            continue  # it was on computers of other tenants, too
        words = run.status.value.replace("_", " ") if run.status in (RunStatus.TIMED_OUT, RunStatus.LOST) else "failed"
        title = f"{run.kind.capitalize()} {words}"
        found.append(Moment(step.finished_at, "circle-x", title, run.title[:200], run.actor_name, "bad", f"/runs/{run.id}/"))
    return sorted(found, key=lambda moment: moment.at)[:limit]


def _status(entry: JournalEntry) -> Moment:
    offline = entry.data.get("after") == "offline"
    return Moment(entry.at, "plug-connected-x" if offline else "circle-check", "Went offline" if offline else "Came online",
                  tone="bad" if offline else "ok")  # fmt: skip


def chart_of(alert: Alert) -> dict[str, Any] | None:
    """What charts.js draws of its computer: the metric with limits and recovery value as lines, and the alert's time as a span.
    None when there is no computer to ask."""
    computer: Computer | None = session().get(Computer, alert.computer_id) if alert.computer_id is not None else None
    if computer is None or computer.sampled_at is None:
        return None
    plot = alert.metric if alert.metric in CHARTS else "cpu"
    start, end = span(alert)
    margin = max(timedelta(minutes=15), (end - start) * 0.35)
    until = min(end + margin, now())
    metric = metric_of(alert.metric)
    chart: dict[str, Any] = {
        "plot": plot, "label": CHARTS[plot], "is_over": alert.resolved_at is not None,
        "src": f"/fleet/{computer.uuid}/metrics.json?start={(start - margin).timestamp():.0f}&end={until.timestamp():.0f}",
        "span": [start.timestamp(), end.timestamp() if alert.resolved_at else None],
        "lines": _lines(alert) if alert.metric == plot else [],
        "href": f"/fleet/{computer.uuid}/metrics?start={(start - margin).timestamp():.0f}&end={until.timestamp():.0f}",
    }  # fmt: skip
    if alert.metric == "disk" and alert.argument:
        chart["note"] = f"The line is the fullest disk; the alert is about {alert.argument}."
    elif alert.metric == "network" and not alert.argument:
        chart["note"] = "The limit is about what is received and sent together."
    elif alert.metric != plot and metric is not None:
        chart["note"] = "What it reported around then."
    return chart


def _lines(alert: Alert) -> list[dict[str, Any]]:
    """The rule's values as lines; of a rule that is gone the limit that was crossed."""
    rule: Threshold | None = session().get(Threshold, alert.threshold_id)
    if rule is None or rule.metric != alert.metric:
        values: tuple[tuple[float | None, str, str], ...] = (
            (alert.limit, alert.severity.value, "bad" if alert.severity is Severity.CRITICAL else "warn"),
        )
    else:
        sign = {Comparison.GT: "over", Comparison.GTE: "from", Comparison.LT: "under", Comparison.LTE: "to"}[rule.comparison]
        values = ((rule.critical_value, f"critical {sign}", "bad"), (rule.warning_value, f"warning {sign}", "warn"),
                  (rule.recovery_value, "back at", "ok"))  # fmt: skip
    metric = metric_of(alert.metric)
    return [{"value": value, "label": label, "tone": tone, "shown": metric.shown(value) if metric else f"{value:g}"}
            for value, label, tone in values if value is not None]  # fmt: skip
