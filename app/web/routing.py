"""`Room`: the blueprint of a room. It declares each route with its permission, reads and checks the input, turns the
answer into a response and commits: the one commit point of requests (DESIGN.md, import rule 5)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import orjson
from flask import Blueprint, Response, make_response, request
from pydantic import BaseModel

from app.actors import Permission
from app.database import begin_write, commit
from app.web.body import MAX_BODY, validate_body, validate_query

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
    data = b"" if status == 204 else orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z)
    response = Response(data, status=status, mimetype="application/json")
    if status == 204:
        del response.headers["Content-Type"]
    return response


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is not JSON")


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
        hash_first: bool = False,
        also: tuple[str, ...] = (),
    ) -> Callable[[View], View]:
        """A page, a fragment or a form. `also` are other addresses of the same.

        With `hash_first` the view begins its write itself, after the slow part (a password hash)."""

        def decorate(view: View) -> View:
            @wraps(view)
            def run(**path: Any) -> Response:
                if request.method in UNSAFE and not hash_first:
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
        hash_first: bool = False,
        media: str = "application/json",
        endpoint: str | None = None,
    ) -> Callable[[View], View]:
        """A JSON route. The view gets `body` and `query` as validated models and returns data or a Response."""

        def decorate(view: View) -> View:
            @wraps(view)
            def run(**path: Any) -> Response:
                if query is not None:
                    path["query"] = validate_query(query, request)
                if body is not None:
                    path["body"] = validate_body(body, request, max_body)
                if method in UNSAFE and not hash_first:
                    begin_write()
                value = view(**path)
                response = value if isinstance(value, Response) else json_response(value, status)
                commit()
                return response

            name = f"api_{endpoint or view.__name__}"
            title, _, more = (view.__doc__ or name).strip().partition("\n")
            self.declared.api.append(
                ApiRoute(method, rule, f"{self.name}.{name}", permission, title, body, query, returns, status,
                         " ".join(more.split()), media)
            )  # fmt: skip
            self._add(rule, name, run, permission, (method,))
            return view

        return decorate

    def _add(self, rule: str, name: str, run: View, permission: Permission, methods: tuple[str, ...]) -> None:
        run.permission = permission  # type: ignore[attr-defined]
        self.add_url_rule(rule, name, run, methods=list(methods), provide_automatic_options=False)
