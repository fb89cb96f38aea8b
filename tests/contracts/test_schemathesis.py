"""RELIABILITY 11: schemathesis over the OpenAPI document: no 5xx, whatever the input; answers fit the document."""

import schemathesis
from conftest import Cast
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

DESTRUCTIVE = (
    "/api/auth/logout",
    "/api/v1/auth/logout",
    "/api/auth/login",
    "/api/v1/auth/login",
    "/api/auth/register",
    "/api/v1/auth/register",
)


def test_no_input_makes_the_server_fail(cast: Cast, built: Flask) -> None:
    """Every operation of the document, as the admin, with generated input of every kind that the schema knows and some it forbids."""
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", built)
    schema.config.generation.update(with_security_parameters=False)
    headers = {"X-API-Key": cast.keys["alice"]}
    failures: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in DESTRUCTIVE:
            continue

        @settings(max_examples=12, deadline=None, database=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(case=operation.as_strategy())
        def run(case: schemathesis.Case) -> None:
            response = case.call(headers=headers)
            case.validate_response(response, checks=(not_a_server_error, content_type_conformance, response_schema_conformance))

        try:
            run()
        except Exception as error:
            failures.append(f"{operation.method.upper()} {operation.path}: {str(error)[:600]}")
    assert not failures, "\n\n".join(failures)
