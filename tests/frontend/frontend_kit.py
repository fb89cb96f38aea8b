"""Templates without the app: a Jinja environment with the globals that the app gives, and computers to show."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from app.fleet.live import FleetQuery
from app.shapes import Fixed
from app.web.listing import Listing
from app.web.parts import Parts

ROOT = Path(__file__).resolve().parents[2]
STATIC, TEMPLATES = ROOT / "static", ROOT / "templates"
ORIGIN = "http://binnacle.test"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' ws://binnacle.test; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
BULK = (Fixed(label="Tag", icon="tag", href="/fleet/bulk/tag"), Fixed(label="Delete", icon="trash", href="/fleet/bulk/delete"))
VIEWS = (Fixed(id=0, name="All", href="/fleet/", active=True, count=None, mine=False, shared=True),)

JINJA = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
JINJA.globals.update(
    asset=lambda path: f"/static/{path}", csrf_token=lambda: "token", build="b1", flashes=[], tenants=(), nav=(),
    current_tenant=None, request=None, principal=Object(name="Alice", role="admin", can=lambda permission: True),
)  # fmt: skip
JINJA.globals["part"] = Parts(JINJA)


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
        "health": ("healthy", "warning", "critical")[number % 3],
        "last_seen": datetime.now(UTC) - timedelta(seconds=number), "sampled_at": None,
    }  # fmt: skip
    return Object(**{**values, **changes})


def shown(rows: list[Object], rev: int = 7, may_write: bool = True, **changes: Any) -> dict[str, Any]:
    """What the Computers page gives its templates: 50 of 1,243, unless something else is said."""
    counts = Fixed(total=1243, online=1200, offline=43, unknown=0, attention=12)
    values = {"path": "/fleet/", "query_model": FleetQuery(sort="-cpu"), "total": 1243, "options": Fixed(), "counts": counts,
              "view_key": "fleet?"}  # fmt: skip
    html = Markup("").join(row_html(row) for row in rows)
    return {
        "listing": Listing(**values | changes),
        "rows": html,
        "rev": rev,
        "may_write": may_write,
        "bulk": BULK if may_write else (),
    }
