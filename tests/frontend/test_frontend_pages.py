"""The parts that pages share, rendered without the app: the live header, the wait, the journal's words, the installers."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any

import pytest
from frontend_kit import TEMPLATES, computer
from jinja2 import Environment

HOSTILE = "<script>alert(1)</script>\"'"
ADDRESS = "http://fleet.test:8000"
AT = datetime(2026, 1, 1, tzinfo=UTC)


def head(jinja: Environment, **changes: Any) -> str:
    row = computer(1, **{"tenant": Object(name="Acme"), "tenant_id": "t1", "host": None, "spark": bytes([10, 255, 50]),
                         "recv_rate": 1200.0,
                         "sent_rate": None, "problem": None, "spool_dropped": 0, "alerts_critical": 0, "alerts_warning": 0,
                         "health": "healthy", **changes})  # fmt: skip
    return jinja.get_template("fleet/_now.html").render(computer=row).strip()


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.relative_to(TEMPLATES).as_posix())
def test_a_template_is_short(path: Path) -> None:
    assert path.read_text("utf-8").count("\n") < 80


def test_the_live_header_is_one_element_and_the_same_for_every_viewer(strict: Environment) -> None:
    html = head(strict)
    assert html.startswith('<div class="bn-now" id="r-') and html.count(' id="') == 1
    assert "csrf" not in html and "1.2 kB/s" in html


def test_what_a_computer_reports_is_inert_in_its_header(strict: Environment) -> None:
    html = head(
        strict, name=HOSTILE, os_name=HOSTILE, address=HOSTILE, tags=[HOSTILE], tenant=Object(name=HOSTILE), problem=HOSTILE
    )
    assert "<script" not in html


def test_the_header_says_why_samples_are_not_taken_and_that_some_were_dropped(strict: Environment) -> None:
    assert "bn-alert" not in head(strict)
    assert "the clock is 3 days ahead" in head(strict, problem="the clock is 3 days ahead")
    assert "1,234" in head(strict, spool_dropped=1234)


def test_a_computer_that_never_reported_shows_dashes(strict: Environment) -> None:
    html = head(strict, status="unknown", last_seen=None, cpu=None, memory=None, disk=None, recv_rate=None, spark=None)
    assert "Never seen" in html and "None" not in html and "0%" not in html


@pytest.mark.parametrize(("ended", "says"), [
    ({}, "Waiting for the first check-in"), ({"is_open": False}, "has ended"),
    ({"is_open": False, "revoked_at": AT}, "was revoked"), ({"is_open": False, "used_at": AT}, "deleted since"),
])  # fmt: skip
def test_the_wait_asks_again_only_while_it_waits(strict: Environment, ended: dict[str, Any], says: str) -> None:
    state = {"is_open": True, "used_at": None, "revoked_at": None, **ended}
    row = Object(id="w1", created_at=AT, expires_at=AT, **state)
    html = strict.get_template("connectors/_wait.html").render(row=row, computer=None, is_open=state["is_open"])
    assert ("hx-get" in html) is (not ended) and says in html


@pytest.mark.parametrize(("data", "text"), [
    ({"before": {"role": "user", "same": 1}, "after": {"role": "admin", "same": 1}}, "<dt>role</dt><dd>user → admin</dd>"),
    ({"before": "online", "after": "offline"}, "<dt>from</dt><dd>online → offline</dd>"),
    ({"computers": [f"c{i}" for i in range(10)]}, "c7, and 2 more"),
    ({"first": True, "scope": None}, "<dd>yes</dd>"),
    ({"name": HOSTILE}, "&lt;script&gt;"),
])  # fmt: skip
def test_the_journal_reads_in_words(jinja: Environment, data: dict[str, Any], text: str) -> None:
    html = str(jinja.get_template("_macros/journal.html").module.details(data))  # type: ignore[attr-defined]
    assert text in html and "same" not in html and "<script" not in html


def script(jinja: Environment) -> str:
    return jinja.get_template("connectors/install.sh").render(address=ADDRESS)


def shell(text: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(
        ["sh", "-s", "--", *arguments], input=text, capture_output=True, text=True, timeout=20, env=env, cwd=folder
    )


def test_the_installer_parses_and_asks_for_a_token(jinja: Environment, tmp_path: Path) -> None:
    done = shell(script(jinja), "--prefix", str(tmp_path / "here"), folder=tmp_path)
    assert done.returncode == 1 and "--token" in done.stderr
    assert not (tmp_path / "here").exists()


def test_a_cut_download_of_the_installer_does_nothing(jinja: Environment, tmp_path: Path) -> None:
    whole = script(jinja)
    for part in range(0, len(whole) - len('main "$@"\n'), 397):
        done = shell(whole[:part], "--token", "t", "--prefix", str(tmp_path / "here"), folder=tmp_path)
        assert not (tmp_path / "here").exists() and "installing" not in done.stdout


@pytest.mark.skipif(not shutil.which("sh"), reason="needs a shell")
@pytest.mark.parametrize("name", ["install.sh", "install.ps1"])
def test_an_address_cannot_leave_its_quotes(jinja: Environment, name: str) -> None:
    text = jinja.get_template(f"connectors/{name}").render(address="http://x'; touch /tmp/y; '")
    code = [line for line in text.splitlines() if not line.startswith("#")]
    assert not any("'; touch" in line for line in code)
