"""`Room`: the blueprint of a room. It declares each route with its permission, reads and checks the input, turns the
answer into a response and commits: the one commit point of requests (DESIGN.md, import rule 5)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, make_response, request
from pydantic import BaseModel

from app.actors import Actor, Permission
from app.database import begin_write, commit, release
from app.web import access, lane
from app.web.body import MAX_BODY, MAX_INGEST, read_raw, validate_body, validate_query
from app.web.json import dump

UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
View = Callable[..., Any]


@dataclass(frozen=True)
class ApiRoute:
    """What one JSON route takes and gives; the OpenAPI document is made of these."""

    method: str
    rule: str
    endpoint: str
    permission: Permission
    summary: str
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    returns: Any
    status: int
    description: str = ""
    media: str = "application/json"


@dataclass
class _Declared:
    api: list[ApiRoute] = field(default_factory=list)


def json_response(value: Any, status: int = 200) -> Response:
    """Anything that is JSON: models, lists of models, plain data."""
    data = b"" if status == 204 else dump(value)
    response = Response(data, status=status, mimetype="application/json")
    if status == 204:
        del response.headers["Content-Type"]
    return response


@dataclass(frozen=True)
class _Takes:
    """What a JSON route reads before its view runs, and whether it begins a write."""

    body: type[BaseModel] | None
    query: type[BaseModel] | None
    max_body: int
    writes: bool


def _answering(view: View, takes: _Takes, status: int) -> View:
    """The view with its input read and checked, its answer as a response, and the commit."""

    @wraps(view)
    def run(**path: Any) -> Response:
        if takes.query is not None:
            path["query"] = validate_query(takes.query, request)
        if takes.body is not None:
            path["body"] = validate_body(takes.body, request, takes.max_body)
        if takes.writes:
            begin_write()
        value = view(**path)
        response = value if isinstance(value, Response) else json_response(value, status)
        commit()
        return response

    return run


class Room(Blueprint):
    """A blueprint without `url_prefix`: every route spells its whole path and names the permission it needs."""

    def __init__(self, name: str, import_name: str) -> None:
        super().__init__(name, import_name)
        self.declared = _Declared()

    def page(
        self,
        rule: str,
        *,
        permission: Permission,
        methods: tuple[str, ...] = ("GET",),
        begins_own_write: bool = False,
        also: tuple[str, ...] = (),
    ) -> Callable[[View], View]:
        """A page, a fragment or a form. `also` are other addresses of the same.

        With `begins_own_write` the view calls `begin_write` itself, after what is slow (a password hash, a question to
        another process) or never, when it stores by other means."""

        def decorate(view: View) -> View:
            @wraps(view)
            def run(**path: Any) -> Response:
                if request.method in UNSAFE and not begins_own_write:
                    begin_write()
                response = make_response(view(**path))
                commit()
                return response

            for path in (rule, *also):
                self._add(path, view.__name__, run, permission, methods)
            return view

        return decorate

    def api(
        self,
        method: str,
        rule: str,
        *,
        permission: Permission,
        body: type[BaseModel] | None = None,
        query: type[BaseModel] | None = None,
        returns: Any = None,
        status: int = 200,
        max_body: int = MAX_BODY,
        begins_own_write: bool = False,
        media: str = "application/json",
        endpoint: str | None = None,
        documented: Any = None,
    ) -> Callable[[View], View]:
        """A JSON route. The view gets `body` and `query` as validated models and returns data or a Response.

        `documented` is the body's shape when the view reads it by itself."""

        def decorate(view: View) -> View:
            name = f"api_{endpoint or view.__name__}"
            title, _, more = (view.__doc__ or name).strip().partition("\n")
            self.declared.api.append(
                ApiRoute(method, rule, f"{self.name}.{name}", permission, title, body or documented, query, returns, status,
                         " ".join(more.split()), media)
            )  # fmt: skip
            takes = _Takes(body, query, max_body, writes=method in UNSAFE and not begins_own_write)
            self._add(rule, name, _answering(view, takes, status), permission, (method,))
            return view

        return decorate

    def express(
        self,
        rule: str,
        *,
        permission: Permission,
        when: Callable[[Actor], bool],
        act: Callable[[Flask, Any], Any],
        body: type[BaseModel],
        returns: Any,
        status: int = 200,
    ) -> Callable[[View], View]:
        """A POST that programs send by the thousand, also served by `app.web.lane`. The decorated function is its `check`."""

        def decorate(check: View) -> View:
            lane.declare(rule, permission, when, check, act, status)

            @wraps(check)
            def view() -> Response:
                checked = check(access.actor(), read_raw(request, MAX_INGEST))
                release()
                answer = act(current_app, checked)
                g.quiet = True
                return json_response(answer, status)

            self.api("POST", rule, permission=permission, returns=returns, status=status, begins_own_write=True, documented=body)(
                view
            )
            return check

        return decorate

    def _add(self, rule: str, name: str, run: View, permission: Permission, methods: tuple[str, ...]) -> None:
        run.permission = permission  # type: ignore[attr-defined]
        self.add_url_rule(rule, name, run, methods=list(methods), provide_automatic_options=False)
