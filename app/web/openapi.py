"""The OpenAPI 3.1 document, made from the routes that the rooms declare (app.web.routing.ApiRoute)."""

import re
from typing import Any

from flask import Flask
from pydantic import TypeAdapter

from app.actors import Permission
from app.web.contracts import Contract002, contract_of
from app.web.routing import ApiRoute, Room

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_TEMPLATE = "#/components/schemas/{model}"
DESCRIPTION = (
    "Every JSON route of this server. Send an API key as `X-API-Key`, or a key or the token of `/api/auth/login` as"
    " `Authorization: Bearer …`. Routes below `/api/v1` and those without a version give their errors in different shapes."
)
ERRORS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 413: "TooLarge", 422: "Unprocessable",
          429: "TooManyRequests", 503: "Unavailable"}  # fmt: skip
_ERROR_BODY = {"type": "object", "description": "In the shape of the path's contract; see X-Request-ID for the log."}


def build(app: Flask, title: str, version: str) -> dict[str, Any]:
    """The document for all JSON routes of all rooms."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for blueprint in app.blueprints.values():
        if isinstance(blueprint, Room):
            for route in blueprint.declared.api:
                path = _PARAMETER.sub(r"{\1}", route.rule)
                paths.setdefault(path, {})[route.method.lower()] = _operation(route, blueprint.name, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": DESCRIPTION},
        "security": [{"bearer": []}, {"apiKey": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "responses": {name: _error(name) for name in ERRORS.values()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A JWT from /api/auth/login, or an API key"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _error(name: str) -> dict[str, Any]:
    return {"description": re.sub(r"(?<!^)(?=[A-Z])", " ", name), "content": {"application/json": {"schema": _ERROR_BODY}}}


def _schema(kind: Any, schemas: dict[str, Any], mode: str) -> dict[str, Any]:
    schema = TypeAdapter(kind).json_schema(ref_template=_TEMPLATE, mode=mode)  # type: ignore[arg-type]
    schemas.update(schema.pop("$defs", {}))
    return schema


def _operation(route: ApiRoute, tag: str, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.endpoint.replace(".", "_"),
        "summary": route.summary.replace("`", ""),
        "tags": [tag],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in _PARAMETER.findall(route.rule)
        ],
        "responses": {str(route.status): _answer(route, schemas)},
    }
    if route.description:
        operation["description"] = route.description
    if route.permission is Permission.PUBLIC:
        operation["security"] = []
    if route.query is not None:
        operation["parameters"] += _query_parameters(route, schemas)
    if route.body is not None:
        content = {"application/json": {"schema": _schema(route.body, schemas, "validation")}}
        operation["requestBody"] = {"required": True, "content": content}
    for status in _statuses(route):
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{ERRORS[status]}"}
    return operation


def _statuses(route: ApiRoute) -> list[int]:
    found = {401, 403, 429, 503}
    if "<" in route.rule or route.body is not None or route.query is not None:
        found.add(404)
    if route.body is not None or route.method in ("POST", "PUT", "PATCH", "DELETE") or route.query is not None:
        found |= {400, 413}
    if isinstance(contract_of(route.rule), Contract002):
        found.add(422)
    return sorted(found)


def _answer(route: ApiRoute, schemas: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done" if route.status == 204 else "Success"}
    if route.media != "application/json":
        answer["content"] = {route.media: {"schema": {"type": "string"}}}
    elif route.status != 204:
        schema = {} if route.returns is None else _schema(route.returns, schemas, "serialization")
        answer["content"] = {"application/json": {"schema": schema}}
    return answer


def _query_parameters(route: ApiRoute, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    schema = _schema(route.query, schemas, "validation")
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": {k: v for k, v in part.items() if k != "title"}}
        for name, part in schema.get("properties", {}).items()
    ]
