"""Pages of silences and maintenance windows: the list by what is on now, a new one, edit, end early."""

from datetime import datetime, timedelta
from typing import Any

from flask import Response, make_response, redirect, render_template, request

from app.actors import Permission
from app.alerts import bp, operations, queries
from app.alerts.figures import computer_named, scope_names, tenant_names
from app.alerts.forms import SCOPES, WindowForm
from app.alerts.models import ScopeKind, Silence
from app.alerts.undoing import end_early
from app.alerts.words import lasted, scope_words
from app.clock import now
from app.database import release
from app.errors import DomainError, Invalid
from app.fleet.queries import filter_choices, get_computer
from app.tenants.queries import tenant_choices
from app.web import access, pages
from app.web.forms import choices, named, refused, show_error

PAGE = 100
pages.add_settings(pages.SettingsTab("silences", "Silences", "/alerts/silences/", Permission.ALERTS_READ, place=60))
_TYPED_IN = {"tenant_id": "of_tenant", "server_id": "computer"}
STATES = (("now", "On now"), ("planned", "Planned"), ("past", "Past"))


def state_of(row: Silence, moment: datetime) -> str:
    """`now`, `planned` or `past`. One that repeats is planned between its windows."""
    if row.is_on(moment):
        return "now"
    return "planned" if row.next_change(moment) is not None else "past"


def _may_write() -> bool:
    who = access.actor()
    return who.is_person and who.can(Permission.ALERTS_WRITE)


def _may_change(row: Silence) -> bool:
    """Silences for all tenants are changed by those who see them all."""
    return _may_write() and (row.tenant_id is not None or access.actor().tenant_ids is None)


def _when(row: Silence) -> str:
    """How it repeats, in words."""
    if row.repeat is None:
        return "once"
    each = "every day" if row.repeat.value == "daily" else "every week"
    return f"{each}, until {row.repeat_until:%Y-%m-%d}" if row.repeat_until else each


@bp.page("/alerts/silences/", permission=Permission.ALERTS_READ)
def silence_list() -> str:
    """Silences: on now, planned, past."""
    moment, wanted = now(), request.args.get("state", "")
    rows = [(row, state_of(row, moment)) for row in queries.silences(pages.scope(), over=True)]
    counts = {state: sum(1 for _, one in rows if one == state) for state, _ in STATES}
    order = {state: place for place, (state, _) in enumerate(STATES)}
    shown = sorted((one for one in rows if wanted in ("", one[1])), key=lambda one: order[one[1]])
    page = max(1, request.args.get("page", 1, int))
    part = shown[(page - 1) * PAGE : page * PAGE]
    names = scope_names([row for row, _ in part], access.actor().tenant_ids)
    tenants = tenant_names(row.tenant_id for row, _ in part)
    lines = [{"silence": row, "state": state, "about": scope_words(row, names, tenants), "when": _when(row), "href": _href(row),
              "lasts": lasted((row.ends_at - row.starts_at).total_seconds()),
              "next": row.next_change(moment), "may_change": _may_change(row)}
             for row, state in part]  # fmt: skip
    return render_template(
        "alerts/silences.html", lines=lines, states=STATES, counts=counts, state=wanted, total=len(shown), page=page,
        pages=max(1, -(-len(shown) // PAGE)), any=bool(rows), may_write=_may_write(), page_title="Silences",
    )  # fmt: skip


def _href(row: Silence) -> str:
    match row.scope:
        case ScopeKind.COMPUTER:
            return f"/fleet/{row.scope_id}/alerts"
        case ScopeKind.THRESHOLD:
            return f"/alerts/thresholds/{row.scope_id}/"
        case ScopeKind.TENANT:
            return f"/alerts/?tenant={row.scope_id}"
    return ""


def _form(row: Silence | None = None) -> WindowForm:
    form = WindowForm()
    form.scope.choices = choices(*SCOPES, (ScopeKind.THRESHOLD.value, "One rule"))
    form.of_tenant.choices = choices(("", "All tenants")) + named(tenant_choices(access.actor().tenant_ids))
    rules = queries.thresholds(access.actor().tenant_ids, limit=500)
    form.rule.choices = choices(("", "–"), *((one.id, one.name) for one in rules))
    if request.method == "POST":
        return form
    if row is not None:
        names = scope_names([row], access.actor().tenant_ids)
        form.show_scope(row, names.get(("computer", row.scope_id or ""), row.scope_id))
        for name in ("starts_at", "ends_at", "repeat_until"):
            getattr(form, name).process_data(getattr(row, name))
        form.repeat.data, form.reason.data = row.repeat.value if row.repeat else "", row.reason
        form.rule.data = row.scope_id if row.scope is ScopeKind.THRESHOLD else ""
        return form
    start = now().replace(second=0, microsecond=0)
    form.starts_at.process_data(start)
    form.ends_at.process_data(start + timedelta(hours=2))
    if uuid := request.args.get("computer", "")[:36]:
        form.scope.data, form.computer.data = ScopeKind.COMPUTER.value, get_computer(uuid, access.actor()).name
    if threshold_id := request.args.get("threshold", "")[:36]:
        form.scope.data, form.rule.data = ScopeKind.THRESHOLD.value, queries.get_threshold(threshold_id, access.actor()).id
    return form


def _context(row: Silence | None) -> dict[str, Any]:
    title = "Edit a silence" if row is not None else "New silence"
    return {"silence": row, "tags": filter_choices(access.actor().tenant_ids)[1], "page_title": title, "title": title}


@bp.page("/alerts/silences/new", permission=Permission.ALERTS_WRITE)
def new_silence() -> str:
    """The form for a new one; `computer` or `threshold` in the query say what about."""
    return render_template("alerts/window.html", form=_form(), **_context(None))


@bp.page("/alerts/silences/new", permission=Permission.ALERTS_WRITE, methods=("POST",))
def create_silence() -> Response:
    """Make it; what is active within it is muted at once."""
    return _save(None)


@bp.page("/alerts/silences/<silence_id>/edit", permission=Permission.ALERTS_WRITE)
def edit_silence(silence_id: str) -> str:
    """The form to change one."""
    row = queries.get_silence(silence_id, access.actor())
    return render_template("alerts/window.html", form=_form(row), **_context(row))


@bp.page("/alerts/silences/<silence_id>/edit", permission=Permission.ALERTS_WRITE, methods=("POST",))
def update_silence(silence_id: str) -> Response:
    """Save the changes."""
    return _save(queries.get_silence(silence_id, access.actor()))


def _save(row: Silence | None) -> Response:
    form, silence_id = _form(row), row.id if row is not None else None
    if form.validate():
        try:
            values = _values(form)
            if row is None:
                made = operations.create_silence(values, actor=access.actor())
            else:
                values["starts_at"] = values["starts_at"] or row.starts_at
                made = operations.update_silence(row, values, actor=access.actor())
        except DomainError as error:
            _say(form, error)
        else:
            on = made.is_on(now())
            pages.toast("Silence saved" if row is not None else "Silenced: alerts within it are shown, but nobody is told" if on
                        else "Silence planned")  # fmt: skip
            return make_response(redirect("/alerts/silences/", 303))
    again = queries.get_silence(silence_id, access.actor()) if silence_id else None
    return refused("alerts/window.html", form, **_context(again))


def _values(form: WindowForm) -> dict[str, Any]:
    """The silence that was typed. Raises Invalid."""
    computer_id = None
    if form.scope.data == ScopeKind.COMPUTER.value:
        computer_id, wrong = computer_named((form.computer.data or "").strip(), access.actor().tenant_ids)
        if wrong:
            form.computer.errors = [*form.computer.errors, wrong]
            raise Invalid(wrong)
    return form.values(computer_id)


def _say(form: WindowForm, error: DomainError) -> None:
    """The error where the person can mend it."""
    if not isinstance(error, Invalid):
        show_error(form, error)
        return
    release()
    for one in error.errors:
        target = _TYPED_IN.get(one.name, one.name)
        if one.name == "scope_id":
            target = {"tag": "tag", "tenant": "of_tenant", "threshold": "rule"}.get(form.scope.data, "computer")
        words = {"field required": "Fill this in", "must be after starts_at": "This is before it begins"}.get(
            one.message, one.message
        )
        field = form._fields.get(target)
        if field is None:
            form.form_errors.append(words)
        else:
            field.errors = [*field.errors, words[:1].upper() + words[1:]]


@bp.page("/alerts/silences/<silence_id>/end", permission=Permission.ALERTS_WRITE, methods=("POST",))
def end_silence(silence_id: str) -> Response:
    """End one that is on; one that is only planned is taken back. The toast can bring it back as it was."""
    row = queries.get_silence(silence_id, access.actor())
    moment = now()
    if state_of(row, moment) == "past":
        pages.toast("It is over already", "error")
        return make_response(redirect("/alerts/silences/", 303))
    fields = _as_form(row)
    if row.is_on(moment) and row.repeat is None and row.starts_at < moment:
        end_early(row, actor=access.actor())
    else:
        operations.delete_silence(row, actor=access.actor())
    pages.toast("The silence is over", undo={"url": "/alerts/silences/new", "label": "Undo", "fields": fields})
    return make_response(redirect("/alerts/silences/", 303))


def _as_form(row: Silence) -> dict[str, str]:
    """The fields of the form that makes the same silence again."""

    def typed(moment: datetime | None) -> str:
        return moment.strftime("%Y-%m-%dT%H:%M:%S") if moment else ""

    def if_is(kind: ScopeKind) -> str:
        return (row.scope_id or "") if row.scope is kind else ""

    return {
        "starts_at": typed(row.starts_at), "ends_at": typed(row.ends_at), "repeat": row.repeat.value if row.repeat else "",
        "repeat_until": typed(row.repeat_until), "reason": row.reason, "scope": row.scope.value, "tag": if_is(ScopeKind.TAG),
        "computer": if_is(ScopeKind.COMPUTER), "rule": if_is(ScopeKind.THRESHOLD),
        "of_tenant": if_is(ScopeKind.TENANT) or row.tenant_id or "",
    }  # fmt: skip
