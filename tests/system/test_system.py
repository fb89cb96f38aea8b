"""Health, the OpenAPI document and the pages over it."""

import re

from conftest import Cast
from flask import Flask
from openapi_spec_validator import validate

from app.system import bootstrap


def test_health_is_the_union_of_the_documents_and_shows_the_path_only_to_those_who_sign_in(cast: Cast) -> None:
    answer = cast.app.test_client().get("/api/health")
    assert answer.status_code == 200
    assert answer.json.keys() == {
        "status",
        "version",
        "uptime_seconds",
        "timestamp",
        "active_sessions",
        "auth_enabled",
        "rate_limiting",
    }
    assert answer.json["status"] == "healthy"
    signed_in = cast.client("rita").get("/api/health").json
    assert signed_in["database_path"]
    assert "@" not in signed_in["database_path"]


def test_live_ready_and_health(app: Flask) -> None:
    client = app.test_client()
    for path in ("/health", "/health/live", "/health/ready"):
        assert client.get(path).status_code == 200, path


def test_not_ready_while_it_stops_and_while_migrations_are_due(app: Flask) -> None:
    from sqlalchemy import text

    from app.extensions import db

    client = app.test_client()
    app.config["STOPPING"] = True
    assert client.get("/health/ready").json == {"status": "not ready", "reason": "stopping"}
    app.config["STOPPING"] = False
    with app.app_context():
        db.session.execute(text("UPDATE alembic_version SET version_num = 'older'"))
        db.session.commit()
        try:
            answer = client.get("/health/ready")
            assert (answer.status_code, answer.json["reason"]) == (503, "migrations are due")
            assert answer.headers["Retry-After"]
        finally:
            from app.system.queries import schema_heads

            newest = schema_heads(app.config["MIGRATIONS_DIR"])[1]
            db.session.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": newest})
            db.session.commit()
    assert client.get("/health/ready").status_code == 200


def test_the_openapi_document_is_valid_and_knows_every_api_route(app: Flask) -> None:
    document = app.test_client().get("/api/openapi.json").json
    validate(document)
    assert document["openapi"].startswith("3.1")
    declared = {
        (path.replace("{", "<").replace("}", ">"), method.upper()) for path, part in document["paths"].items() for method in part
    }
    for rule in app.url_map.iter_rules():
        if (
            rule.rule.startswith("/api/")
            and not rule.websocket
            and rule.rule not in ("/api/openapi.json", "/api/docs", "/api/redoc")
        ):
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                assert (re.sub(r"<\w+:", "<", rule.rule), method) in declared, rule.rule


def test_the_documentation_pages_need_no_internet(app: Flask) -> None:
    for path in ("/docs", "/redoc", "/api/docs", "/api/redoc"):
        answer = app.test_client().get(path)
        assert answer.status_code == 200, path
        assert "http://" not in answer.text.replace("http://www.w3.org", ""), path
        assert "https://" not in answer.text, path


def test_preparing_twice_changes_nothing(app: Flask) -> None:
    from app.database import Base, session

    def rows() -> dict[str, int]:
        with app.app_context():
            found = {t.name: len(session().execute(t.select()).all()) for t in Base.metadata.sorted_tables}
            session().remove()
            return found

    before = rows()
    bootstrap.prepare(app)
    assert rows() == before


def test_the_models_and_the_migrations_agree(app: Flask) -> None:
    """RELIABILITY 28: on both databases."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from app.database import Base
    from app.extensions import db

    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        differences = [d for d in compare_metadata(context, Base.metadata) if "samples_2" not in str(d)]
    assert not differences
