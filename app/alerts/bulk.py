"""Actions on a selection of alerts: acknowledge with a note, resolve, silence what they are about."""

from collections.abc import Sequence
from typing import Any

from flask import Response, make_response, redirect, render_template, request

from app.actors import Permission
from app.alerts import bp, operations, queries, undoing
from app.alerts.figures import by_ids
from app.alerts.forms import NoteForm, SilenceForm
from app.alerts.live import parse
from app.alerts.models import Alert, ScopeKind
from app.alerts.undoing import end_silences
from app.clock import now
from app.errors import DomainError
from app.web import access, bulk, pages
from app.web.bulk import BulkAction, BulkList
from app.web.forms import refused, show_error

MAX_UNDO = 2000  # characters of ids that fit in the cookie of a toast
MOST_SILENCES = 50


def _matching(query: str) -> list[str]:
    return queries.ids_of(parse(query).filter(pages.scope()))


def _named(ids: list[str]) -> list[str]:
    return queries.visible_ids(" ".join(ids).split()[: bulk.MAX_IDS], access.actor().tenant_ids)


def _alerts(ids: Sequence[str]) -> list[Alert]:
    found = {alert.id: alert for alert in by_ids(ids)}
    return [found[one] for one in ids if one in found]


def _targets(ids: Sequence[str]) -> list[dict[str, Any]]:
    return [{"label": a.subject_name[:120], "href": f"/alerts/{a.id}/", "note": a.message[:160]} for a in _alerts(ids)]


LIST = BulkList("/alerts/", "alerts", _matching, _named, list, _targets, lambda q: parse(q).canonical(paging=False))
bulk.register("alerts", LIST)
bulk.add_action(
    "alerts",
    BulkAction("Acknowledge", "eye", "/alerts/bulk/acknowledge", Permission.ALERTS_WRITE, 10),
    BulkAction("Resolve", "circle-check", "/alerts/bulk/resolve", Permission.ALERTS_WRITE, 20),
    BulkAction("Silence", "bell-off", "/alerts/bulk/silence", Permission.ALERTS_WRITE, 30),
)


def _back() -> Response:
    """To where the action began: another page that says so, or the list as it was filtered."""
    target = request.form.get("next", "")
    return make_response(redirect(pages.local_target(target) if target else LIST.back(), 303))


def _number(count: int) -> str:
    return "1 alert" if count == 1 else f"{count:,} alerts"


def _undo(action: str, ids: Sequence[str]) -> dict[str, Any] | None:
    """The form that takes an action back on exactly the alerts that it changed."""
    named = " ".join(ids)
    if not named or len(named) > MAX_UNDO:
        return None
    fields = {"back": request.form.get("back", ""), "next": request.form.get("next", ""), "ids": named}
    return {"url": f"/alerts/bulk/{action}", "label": "Undo", "fields": fields}


def _context(ids: Sequence[str], title: str) -> dict[str, Any]:
    carried = LIST.carry(ids) | {"next": request.form.get("next", "")}
    return {"fields": carried, "targets": LIST.shown(ids), "total": len(ids), "back": LIST.back(), "page_title": title}


def _one(alert_id: str, title: str) -> dict[str, Any]:
    """The same for one alert, whose page comes next."""
    row = queries.get_alert(alert_id, access.actor())
    back = f"/alerts/{row.id}/"
    return {
        "fields": {"ids": [row.id], "next": back},
        "targets": _targets([row.id]),
        "total": 1,
        "back": back,
        "page_title": title,
    }


@bp.page("/alerts/<alert_id>/acknowledge", permission=Permission.ALERTS_WRITE)
def note_for_one(alert_id: str) -> str:
    """The form to acknowledge one alert with a note."""
    return render_template("alerts/acknowledge.html", form=NoteForm(formdata=None), **_one(alert_id, "Acknowledge an alert"))


@bp.page("/alerts/bulk/acknowledge", permission=Permission.ALERTS_WRITE, methods=("POST",))
def acknowledge_selected() -> Response:
    """Ask for a note, then take them in hand."""
    ids, form = LIST.selection(), NoteForm()
    context = _context(ids, "Acknowledge alerts")
    if not request.form.get("confirmed"):
        return make_response(render_template("alerts/acknowledge.html", form=NoteForm(formdata=None), **context))
    if not form.validate():
        return refused("alerts/acknowledge.html", form, **context)
    changed = operations.acknowledge(ids, actor=access.actor(), note=(form.note.data or "").strip() or None)
    left = f"; {_number(len(ids) - len(changed))} left as they were" if len(changed) < len(ids) else ""
    pages.toast(f"{_number(len(changed))} acknowledged{left}" if changed else "Nothing to acknowledge: none of them is active",
                undo=_undo("unacknowledge", changed))  # fmt: skip
    return _back()


@bp.page("/alerts/bulk/unacknowledge", permission=Permission.ALERTS_WRITE, methods=("POST",))
def unacknowledge_selected() -> Response:
    """The undo of it."""
    changed = undoing.unacknowledge(LIST.selection(), actor=access.actor())
    pages.toast(f"{_number(len(changed))} not acknowledged any more" if changed else "Nothing to undo")
    return _back()


@bp.page("/alerts/bulk/resolve", permission=Permission.ALERTS_WRITE, methods=("POST",))
def resolve_selected() -> Response:
    """End them."""
    ids = LIST.selection()
    changed = operations.resolve(ids, actor=access.actor())
    left = f"; {_number(len(ids) - len(changed))} left as they were" if len(changed) < len(ids) else ""
    pages.toast(f"{_number(len(changed))} resolved{left}" if changed else "Nothing to resolve: none of them is active",
                undo=_undo("reopen", changed))  # fmt: skip
    return _back()


@bp.page("/alerts/bulk/reopen", permission=Permission.ALERTS_WRITE, methods=("POST",))
def reopen_selected() -> Response:
    """The undo of it, as far as nothing has recovered since."""
    changed = undoing.reopen(LIST.selection(), actor=access.actor())
    pages.toast(f"{_number(len(changed))} open again" if changed else "Nothing to undo: they have recovered since")
    return _back()


# -- silence -----------------------------------------------------------------------------------------------------------


@bp.page("/alerts/<alert_id>/silence", permission=Permission.ALERTS_WRITE)
def silence_one(alert_id: str) -> str:
    """The form to silence what one alert is about."""
    return render_template("alerts/silence.html", form=SilenceForm(formdata=None), **_one(alert_id, "Silence an alert"))


@bp.page("/alerts/bulk/silence", permission=Permission.ALERTS_WRITE, methods=("POST",))
def silence_selected() -> Response:
    """Ask for how long and whether it is the computers or the rules, then make the silences."""
    ids, form = LIST.selection(), SilenceForm()
    context = _context(ids, "Silence alerts")
    if not request.form.get("confirmed"):
        return make_response(render_template("alerts/silence.html", form=SilenceForm(formdata=None), **context))
    if not form.validate():
        return refused("alerts/silence.html", form, **context)
    scopes = _scopes(_alerts(ids), by_rule=form.by.data == "rule")
    if len(scopes) > MOST_SILENCES:
        form.form_errors.append(
            f"That would be {len(scopes):,} silences, one each. Make one silence for a tag, a tenant or everything."
        )
        return refused("alerts/silence.html", form, **context)
    values = {"starts_at": now(), "ends_at": form.end(now()), "reason": form.reason.data or ""}
    try:
        made = [row.id for row in operations.create_silences([values | one for one in scopes], actor=access.actor())]
    except DomainError as error:
        show_error(form, error)
        return refused("alerts/silence.html", form, **context)
    undo = _undo("unsilence", made)
    text = "1 silence" if len(made) == 1 else f"{len(made):,} silences"
    pages.toast(f"{text} until {values['ends_at']:%d %b %H:%M} UTC", undo=undo)
    return _back()


def _scopes(alerts: Sequence[Alert], *, by_rule: bool) -> list[dict[str, Any]]:
    """What to silence: their rules, or their computers; what has no computer is silenced by its rule in its tenant."""
    found: dict[tuple[str, str, str | None], dict[str, Any]] = {}
    for alert in alerts:
        if alert.computer_id is not None and alert.computer_uuid and not by_rule:
            found["computer", alert.computer_uuid, None] = {"scope": ScopeKind.COMPUTER, "scope_id": alert.computer_uuid}
        else:
            scope = {"scope": ScopeKind.THRESHOLD, "scope_id": alert.threshold_id, "tenant_id": alert.tenant_id}
            found["threshold", alert.threshold_id, alert.tenant_id] = scope
    return list(found.values())


@bp.page("/alerts/bulk/unsilence", permission=Permission.ALERTS_WRITE, methods=("POST",))
def unsilence() -> Response:
    """The undo of it: end exactly those silences."""
    ended = end_silences(request.form.get("ids", "").split()[:MOST_SILENCES], actor=access.actor())
    pages.toast("The silence is over" if ended == 1 else f"{ended:,} silences are over" if ended else "Nothing to undo")
    return _back()
