"""Templates without the app: a Jinja environment with the globals that the app gives, and computers to show."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

ROOT = Path(__file__).resolve().parents[2]
STATIC, TEMPLATES = ROOT / "static", ROOT / "templates"
ORIGIN = "http://binnacle.test"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' ws://binnacle.test; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
COLUMNS = ["name", "status", "tenant", "os", "cpu", "memory", "disk", "alerts", "last_seen", "address"]
VIEWS = [{"id": 0, "name": "All", "href": "/fleet/", "active": True, "count": None, "mine": False, "shared": True}]

JINJA = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
JINJA.globals.update(
    asset=lambda path: f"/static/{path}", csrf_token=lambda: "token", build="b1", flashes=[], tenants=[], nav=[],
    current_tenant=None, request=None, principal=Object(name="Alice", role="admin", can=lambda permission: True),
)  # fmt: skip


def row_html(row: Object) -> Markup:
    """A row as the app caches it."""
    return Markup(JINJA.get_template("fleet/_row.html").render(row=row))


def computer(number: int, **changes: Any) -> Object:
    rng = random.Random(number)
    points = " ".join(f"{round(x * 96 / 35)},{rng.randint(2, 22)}" for x in range(36))
    values = {
        "uuid": f"{rng.getrandbits(128):032x}", "name": f"pc-{number}.acme.lan",
        "address": f"10.0.{number}.{rng.randint(1, 254)}",
        "tags": ["prod"][: number % 2], "status": "online", "tenant_name": "Acme", "os_name": "Debian 12",
        "cpu": rng.uniform(0, 100), "memory": rng.uniform(0, 100), "disk": rng.uniform(0, 100), "spark_points": points,
        "alerts": number % 3,
        "last_seen": datetime.now(UTC) - timedelta(seconds=number), "sampled_at": None,
    }  # fmt: skip
    return Object(**{**values, **changes})


def listing(rows: list[Object], **changes: Any) -> Object:
    columns = [Object(key=key, label=key.title(), shown=key != "address", sortable=True, align="") for key in COLUMNS]
    values = {
        "rows": [row_html(row) for row in rows], "total": 1243, "page": 1, "pages": 25, "page_numbers": [1, 2, 3, None, 25], "per_page": 50, "sort": "name",
        "columns": columns, "filters": {},
        "query": "sort=name", "options": {}, "view_key": "fleet?", "rev": 7, "url": lambda **kw: "/fleet/?sort=name",
        "counts": {"total": 1243, "online": 1200, "offline": 43, "unknown": 0, "attention": 12},
    }  # fmt: skip
    return Object(**{**values, **changes})
