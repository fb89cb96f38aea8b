"""Pages of the rules: their list, one of them, and the editor that tries a rule on what the last 7 days were like."""

from typing import Any

from flask import Response, make_response, redirect, render_template, request

from app.actors import Permission
from app.alerts import bp, operations, queries
from app.alerts.catalogue import Metric, Source, metric_of, metrics
from app.alerts.figures import computer_named, computers_like, scope_names, tenant_names, threshold_counts
from app.alerts.forms import ThresholdForm
from app.alerts.models import ScopeKind, Threshold
from app.alerts.preview import Preview, would_have_fired
from app.alerts.words import condition, scope_words
from app.database import begin_write, release
from app.errors import DomainError, Invalid
from app.fleet.queries import filter_choices, get_computer
from app.tenants.queries import tenant_choices
from app.web import access, pages
from app.web.forms import choices, named, refused, show_error
from app.web.pages import Found

PAGE = 100
DAYS = 7
FOUND = 4  # in the search palette
# What the domain calls a value, and in which field it was typed.
_TYPED_IN = {"metric_type": "metric", "argument": "path", "for_seconds": "for_n", "recovery_for_seconds": "back_n",
             "threshold_value": "warning_value", "tenant_id": "of_tenant", "server_id": "computer"}  # fmt: skip


def _find(text: str) -> list[Found]:
    found = [one for one in queries.thresholds(pages.scope()) if text.lower() in one.name.lower()][:FOUND]
    return [Found(one.name[:120], f"/alerts/thresholds/{one.id}/", "settings", "Threshold") for one in found]


pages.add_finder(Permission.ALERTS_READ, _find)


def _may_write() -> bool:
    who = access.actor()
    return who.is_person and who.can(Permission.ALERTS_WRITE)


def _may_change(row: Threshold) -> bool:
    """Rules for all tenants are changed by those who see them all."""
    return _may_write() and (row.tenant_id is not None or access.actor().tenant_ids is None)


def _shown(rows: list[Threshold]) -> list[dict[str, Any]]:
    names, tenants = scope_names(rows, access.actor().tenant_ids), tenant_names(row.tenant_id for row in rows)
    counts = threshold_counts([row.id for row in rows], pages.scope())
    return [{"rule": row, "says": condition(row), "about": scope_words(row, names, tenants), "counts": counts.get(row.id, (0, 0)),
             "may_change": _may_change(row)} for row in rows]  # fmt: skip


@bp.page("/alerts/thresholds/", permission=Permission.ALERTS_READ)
def threshold_list() -> str:
    """The rules, by name."""
    q, metric = request.args.get("q", "").strip()[:200], request.args.get("metric", "")[:32]
    page = max(1, request.args.get("page", 1, int))
    rows = queries.thresholds(pages.scope(), metric=metric)
    shown = [
        row
        for row in rows
        if all(word in f"{row.name} {condition(row)} {row.scope_id or ''}".lower() for word in q.lower().split())
    ]
    part = _shown(shown[(page - 1) * PAGE : page * PAGE])
    return render_template(
        "alerts/thresholds.html", rows=part, total=len(shown), q=q, metric=metric, page=page,
        pages=max(1, -(-len(shown) // PAGE)), metrics=metrics(), may_write=_may_write(), any=bool(rows), page_title="Thresholds",
    )  # fmt: skip


@bp.page("/alerts/thresholds/<threshold_id>/", permission=Permission.ALERTS_READ)
def threshold(threshold_id: str) -> str:
    """One rule: what it says, how often it fired."""
    row = queries.get_threshold(threshold_id, access.actor())
    return render_template("alerts/threshold.html", page_title=row.name, **(_trial(row) if "try" in request.args else {}),
                           **_shown([row])[0])  # fmt: skip


def _trial(row: Threshold) -> dict[str, Any]:
    """What it would have done, for `_trial.html`."""
    columns = ("name", "metric", "argument", "comparison", "warning_value", "critical_value", "recovery_value", "for_seconds",
               "recovery_for_seconds", "scope", "scope_id", "tenant_id", "include_ephemeral")  # fmt: skip
    try:
        found = would_have_fired({name: getattr(row, name) for name in columns}, DAYS, actor=access.actor())
    except DomainError as error:  # its computer or its tag is gone, or it reaches further than one can see
        return {"trial": None, "problem": error.details or error.message}
    return {"trial": found, "problem": None}


@bp.page("/alerts/thresholds/<threshold_id>/trial", permission=Permission.ALERTS_READ)
def threshold_trial(threshold_id: str) -> str:
    """How often it would have fired, as a fragment."""
    return render_template("alerts/_trial.html", **_trial(queries.get_threshold(threshold_id, access.actor())))


# -- the editor --------------------------------------------------------------------------------------------------------


def _form(row: Threshold | None = None) -> tuple[ThresholdForm, Metric]:
    """The form as it was sent, or filled from a rule; and its metric."""
    sent = request.form if request.method == "POST" else request.args if "metric" in request.args else None
    form = ThresholdForm(formdata=sent, meta={"csrf": request.method == "POST"})
    form.metric.choices = choices(*((one.key, _label(one)) for one in metrics()))
    form.of_tenant.choices = choices(("", "All tenants")) + named(tenant_choices(access.actor().tenant_ids))
    if sent is None and row is not None:
        form.show(row, metric_of(row.metric))
        form.show_scope(row, _computer_name(row))
    elif sent is None:
        _defaults(form)
    metric = metric_of(form.metric.data or "") or metrics()[0]
    if request.headers.get("HX-Trigger-Name") == "metric" or _is_of_another(metric):
        form.turn(metric)
    form.fit(metric)
    return form, metric


def _is_of_another(metric: Metric) -> bool:
    """Whether the fields that were sent are another metric's than the chosen one: without a script, or quicker than it."""
    return request.method == "POST" and request.form.get("fields_of", metric.key) != metric.key


def _label(metric: Metric) -> str:
    return {
        "offline": "Computer offline",
        "proxy_health": "Proxy health",
        "run_failed": "Run failed",
        "clock_skew": "Clock off",
        "certificate": "Certificate",
        "session_failures": "Failed sessions of a tenant",
    }.get(metric.key, metric.label)


def _computer_name(row: Threshold) -> str | None:
    return scope_names([row], access.actor().tenant_ids).get(("computer", row.scope_id or ""), row.scope_id)


def _defaults(form: ThresholdForm) -> None:
    form.metric.data, form.warning_value.data, form.critical_value.data, form.recovery_value.data = "cpu", 90.0, None, 85.0
    form.for_n.data, form.for_unit.data, form.back_n.data, form.back_unit.data = 10, "min", 5, "min"
    form.enabled.data = True
    if uuid := request.args.get("computer", "")[:36]:
        computer = get_computer(uuid, access.actor())
        form.scope.data, form.computer.data = ScopeKind.COMPUTER.value, computer.name


def _values(form: ThresholdForm, metric: Metric) -> dict[str, Any]:
    """The rule that was typed. Raises Invalid."""
    computer_id = None
    if form.scope.data == ScopeKind.COMPUTER.value:
        computer_id, wrong = computer_named((form.computer.data or "").strip(), access.actor().tenant_ids)
        if wrong:
            form.computer.errors = [*form.computer.errors, wrong]
            raise Invalid(wrong)
    return form.values(metric, computer_id)


def _say(form: ThresholdForm, metric: Metric, error: DomainError) -> None:
    """The error where the person can mend it."""
    if isinstance(error, Invalid):
        release()
        if form.computer.errors and not error.errors:
            return
        for one in error.errors:
            target = _TYPED_IN.get(one.name, one.name)
            if one.name == "argument" and metric.arguments != "path":
                target = "direction"
            if one.name == "scope_id":
                target = {"tag": "tag", "tenant": "of_tenant"}.get(form.scope.data, "computer")
            if metric.words and target in ("warning_value", "critical_value"):
                target = target.replace("_value", "_level")
            words = (
                "Give a value for one of the two" if one.name == "threshold_value" else one.message[:1].upper() + one.message[1:]
            )
            field = form._fields.get(target)
            if field is None:
                form.form_errors.append(words)
            else:
                field.errors = [*field.errors, words]
        return
    show_error(form, error)


def _try(form: ThresholdForm, metric: Metric) -> tuple[Preview | None, str | None]:
    """What the rule in the form would have done, or why that cannot be said yet."""
    if not form.validate():
        return None, "something is not filled in right"
    try:
        values = _values(form, metric)
        return would_have_fired(values, DAYS, actor=access.actor()), None
    except DomainError as error:
        _say(form, metric, error)
        return None, next((text for field in form for text in field.errors), error.message)


def _page(form: ThresholdForm, metric: Metric, row: Threshold | None, **more: Any) -> dict[str, Any]:
    _, tags = filter_choices(access.actor().tenant_ids)
    title = f"Edit {row.name}" if row is not None else "New threshold"
    return {"metric": metric, "is_event": metric.source is Source.EVENT, "rule": row, "tags": tags, "page_title": title,
            "title": title, "trial": None, "problem": None} | more  # fmt: skip


@bp.page("/alerts/thresholds/new", permission=Permission.ALERTS_WRITE)
def new_threshold() -> str:
    """The form for a new rule; with HX-Request the fields that fit the chosen metric."""
    form, metric = _form()
    template = "alerts/_fields.html" if pages.is_fragment() else "alerts/edit.html"
    return render_template(template, form=form, **_page(form, metric, None))


@bp.page("/alerts/thresholds/<threshold_id>/edit", permission=Permission.ALERTS_WRITE)
def edit_threshold(threshold_id: str) -> str:
    """The form to change one."""
    row = queries.get_threshold(threshold_id, access.actor())
    form, metric = _form(row)
    template = "alerts/_fields.html" if pages.is_fragment() else "alerts/edit.html"
    return render_template(template, form=form, **_page(form, metric, row))


@bp.page("/alerts/thresholds/try", permission=Permission.ALERTS_WRITE)
def try_threshold() -> str:
    """What the rule in the form would have done, as the form changes."""
    form, metric = _form()
    trial, problem = _try(form, metric)
    return render_template("alerts/_trial.html", trial=trial, problem=problem)


@bp.page("/alerts/thresholds/new", permission=Permission.ALERTS_WRITE, methods=("POST",), begins_own_write=True)
def create_threshold() -> Response:
    """Make it; or only try it."""
    return _save(None)


@bp.page("/alerts/thresholds/<threshold_id>/edit", permission=Permission.ALERTS_WRITE, methods=("POST",), begins_own_write=True)
def update_threshold(threshold_id: str) -> Response:
    """Save the changes; or only try them."""
    return _save(threshold_id)


def _save(threshold_id: str | None) -> Response:
    """A trial reads for seconds and must not hold the database's one write, so that begins only when something is saved."""
    is_trial = "check" in request.form
    if not is_trial and "turn" not in request.form:
        begin_write()
    row = queries.get_threshold(threshold_id, access.actor()) if threshold_id else None
    form, metric = _form(row)
    if _is_of_another(metric) or "turn" in request.form:
        context = _page(form, metric, row, problem=f"fill in the fields of {_label(metric)} first")
        return make_response(render_template("alerts/edit.html", form=form, **context), 200 if "turn" in request.form else 422)
    if is_trial:
        trial, problem = _try(form, metric)
        context = _page(form, metric, row, trial=trial, problem=problem)
        return make_response(render_template("alerts/edit.html", form=form, **context), 422 if problem else 200)
    if form.validate():
        try:
            values = _values(form, metric)
            made = operations.create_threshold(values, actor=access.actor()) if row is None else (
                operations.update_threshold(row, values, actor=access.actor()))  # fmt: skip
        except DomainError as error:
            _say(form, metric, error)
        else:
            pages.toast("Saved" if row is not None else f"Rule {made.name} made")
            return make_response(redirect(f"/alerts/thresholds/{made.id}/", 303))
    title_row = queries.get_threshold(threshold_id, access.actor()) if threshold_id else None
    return refused("alerts/edit.html", form, **_page(form, metric, title_row))


@bp.page("/alerts/scope/computers", permission=Permission.ALERTS_READ)
def computer_choices() -> str:
    """Computers to choose from while somebody types a name."""
    found = computers_like(request.args.get("computer", "").strip()[:100], pages.scope())
    return render_template("alerts/_choices.html", found=found)


# -- switch, delete --------------------------------------------------------------------------------------------------------


def _back() -> Response:
    return make_response(redirect(pages.local_target(request.form.get("next") or "/alerts/thresholds/"), 303))


@bp.page("/alerts/thresholds/<threshold_id>/switch", permission=Permission.ALERTS_WRITE, methods=("POST",))
def switch_threshold(threshold_id: str) -> Response:
    """Switch it on or off; the other is its undo."""
    row, on = queries.get_threshold(threshold_id, access.actor()), request.form.get("on") == "1"
    operations.update_threshold(row, {"enabled": on}, actor=access.actor())
    undo = {"url": f"/alerts/thresholds/{row.id}/switch", "label": "Undo",
            "fields": {"on": "0" if on else "1", "next": request.form.get("next", "")}}  # fmt: skip
    pages.toast(f"{row.name[:80]} is switched on" if on else f"{row.name[:80]} is switched off; its alerts are over", undo=undo)
    return _back()


@bp.page("/alerts/thresholds/<threshold_id>/delete", permission=Permission.ALERTS_WRITE, methods=("GET", "POST"))
def delete_threshold(threshold_id: str) -> Response:
    """Ask, saying what is lost; then delete it."""
    row = queries.get_threshold(threshold_id, access.actor())
    if request.method == "POST" and request.form.get("confirmed"):
        name = row.name
        operations.delete_threshold(row, actor=access.actor())
        pages.toast(f"Rule {name[:80]} deleted")
        return make_response(redirect("/alerts/thresholds/", 303))
    active, week = threshold_counts([row.id], access.actor().tenant_ids).get(row.id, (0, 0))
    are = (
        f"Its {active:,} active alert{'s are' if active != 1 else ' is'} over then."
        if active
        else "None of its alerts is active."
    )
    kept = f"What it raised before stays in the history ({week:,} in the last 7 days)."
    impact = f"{are} {kept} Nobody is told any more when: {condition(row)}."
    targets = [{"label": row.name, "href": f"/alerts/thresholds/{row.id}/", "note": condition(row)}]
    return make_response(render_template(
        "confirm.html", title="Delete this rule?", page_title="Delete a rule", impact=impact, targets=targets, total=1,
        action=f"/alerts/thresholds/{row.id}/delete", fields={}, verb="Delete", cancel=f"/alerts/thresholds/{row.id}/",
        error=None, type_count=False,
    ))  # fmt: skip
