"""`binnacle simulate --sessions` against a real server: whatever the server acknowledged is stored exactly once."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx
import orjson
import pytest
from serving import ROOT, Server

from app.simulator.bots import script
from app.simulator.machines import TENANTS
from app.simulator.post import Client
from app.simulator.reporter import Reporter, event_body
from app.simulator.swarm import Swarm
from app.simulator.tally import BotTally

pytestmark = pytest.mark.e2e


T = TypeVar("T")


def apart(run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it in a thread of its own: a browser of another test may have its event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(run())).result()


def call(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", "simulate", *arguments]
    return subprocess.run(command, cwd=ROOT, env=server.env, capture_output=True, text=True, timeout=90)


def simulate(server: Server, *arguments: str) -> dict[str, Any]:
    done = call(server, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def totals(server: Server) -> tuple[int, int, int]:
    """Sessions, active ones, events."""
    stats = server.http.get("/api/stats").raise_for_status().json()
    return stats["total_sessions"], stats["active_sessions"], stats["total_events"]


def newest(server: Server, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for page in range(1, -(-count // 100) + 1):
        found += server.http.get("/api/sessions", params={"per_page": 100, "page": page}).raise_for_status().json()["sessions"]
    return found[:count]


def assert_as_scripted(server: Server, sessions: list[dict[str, Any]], seed: int, run: int | None = None) -> None:
    """Each stored session is the one of its number: what it is, how it ended, and its events from the first on, each once."""
    for stored in sessions:
        plan = script(seed, stored["metadata"]["number"], 0 if run is None else run)
        assert run is None or stored["session_id"] == plan.session_id
        assert {name: stored[name] for name in ("profile_id", "device", "target_url", "country", "metadata")} == {
            name: plan.register[name] for name in ("profile_id", "device", "target_url", "country", "metadata")
        }
        assert (stored["success"], stored["error"]) == (plan.success, plan.error)
        events = server.http.get(f"/api/sessions/{stored['session_id']}").raise_for_status().json()["events"]
        assert [event["event_type"] for event in events] == [step.kind for step in plan.steps[: len(events)]]
        times = [event["timestamp"] for event in events]
        assert times == sorted(times)
        if len(events) == len(plan.steps) and stored["duration"] == plan.duration and run is not None:
            assert [event["details"] for event in events] == [json.loads(step.details) for step in plan.steps]


def test_sessions_are_stored_exactly_once_singly_and_in_lists(served: Server) -> None:
    before = totals(served)
    first = simulate(served, "--sessions", "15", "--duration", "4", "--seed", "5")["sessions"]
    assert first["refused"] == first["retries"] == first["errors"] == {}
    assert first["begun"] == first["ended"] > 30
    assert first["unfinished"] == 0
    assert totals(served) == (before[0] + first["begun"], before[1], before[2] + first["events_acked"])
    again = simulate(served, "--sessions", "15", "--duration", "4", "--seed", "5", "--batch", "50")["sessions"]
    assert again["refused"] == again["retries"] == {}
    both = first["begun"] + again["begun"]
    assert totals(served) == (before[0] + both, before[1], before[2] + first["events_acked"] + again["events_acked"])
    sessions = newest(served, both)
    assert_as_scripted(served, sessions, seed=5)
    numbers = sorted(one["metadata"]["number"] for one in sessions)
    assert numbers == sorted([*range(first["begun"]), *range(again["begun"])])  # a second run adds the same sessions anew
    assert len({one["tenant_id"] for one in sessions}) == len(TENANTS)


def test_each_run_ends_the_keys_of_the_one_before(served: Server) -> None:
    for _ in range(2):
        simulate(served, "--sessions", "2", "--duration", "1")
    keys = [
        key
        for key in served.http.get("/api/v1/api-keys").raise_for_status().json()["api_keys"]
        if key["name"] == "simulated bots"
    ]
    assert sum(1 for key in keys if key.get("revoked_at") is None) == len(TENANTS)
    assert {key["role"] for key in keys} == {"executor"}


def test_computers_and_sessions_together_and_neither(served: Server) -> None:
    said = simulate(served, "--computers", "2", "--interval", "1", "--sessions", "4", "--duration", "3")
    assert said["computers"] == said["connected"] == 2
    assert said["sent"] == said["acked"] > 0
    assert said["sessions"]["begun"] == said["sessions"]["ended"] > 0
    neither = call(served, "--duration", "3")
    assert neither.returncode == 2
    assert "--computers N" in neither.stderr and "--sessions RATE" in neither.stderr
    assert "per second" in call(served, "--help").stdout


class Moody:
    """Stands in front of a server: now and then it says 429 or 503, loses a request, or loses the answer to one."""

    def __init__(self, behind: str) -> None:
        self._behind = httpx.AsyncClient(base_url=behind, timeout=30)
        self._count = 0
        self.asked: list[tuple[str, float]] = []  # key, when
        self.held: list[tuple[str, float]] = []  # key, when it was told to wait a second

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(fields["Content-Length"]))
        key = fields["X-API-Key"]
        self.asked.append((key, time.monotonic()))
        self._count += 1
        if self._count % 23 == 0:
            self.held.append((key, time.monotonic()))
            writer.write(b"HTTP/1.1 429 TOO MANY REQUESTS\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}")
            return True
        if self._count % 17 == 0:
            writer.write(b"HTTP/1.1 503 SERVICE UNAVAILABLE\r\nContent-Length: 2\r\n\r\n{}")
            return True
        if self._count % 29 == 0:
            return False
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        answer = await self._behind.post(lines[0].split(" ")[1], content=body, headers=headers)
        if self._count % 13 == 0:
            return False  # it is stored, and nobody hears of it
        writer.write(
            f"HTTP/1.1 {answer.status_code} X\r\nContent-Length: {len(answer.content)}\r\n\r\n".encode() + answer.content
        )
        return True


def executor_key(server: Server, name: str, rate_limit: int) -> str:
    body = {"name": name, "role": "executor", "rate_limit": rate_limit}
    return str(server.http.post("/api/v1/api-keys", json=body).raise_for_status().json()["key"])


@pytest.mark.parametrize("batch", [1, 20])
def test_a_server_that_stumbles_is_given_time_and_gets_everything_once(served: Server, batch: int) -> None:
    keys = {tenant: executor_key(served, tenant, 1_000_000) for tenant in TENANTS}
    before = totals(served)

    async def run() -> tuple[Moody, Swarm]:
        moody = Moody(served.url)
        front = await asyncio.start_server(moody.serve, "127.0.0.1", 0)
        port = front.sockets[0].getsockname()[1]
        swarm, stop = Swarm(f"http://127.0.0.1:{port}", keys, seed=9, rate=12, batch=batch), asyncio.Event()
        asyncio.get_running_loop().call_later(5, stop.set)
        await swarm.drive(stop)
        front.close()
        return moody, swarm

    moody, swarm = apart(run)
    said = swarm.tally.summary()
    assert said["refused"] == {} and said["unfinished"] == 0
    assert said["retries"].keys() == {"429", "503", "connection"}
    assert said["retries"]["429"] == len(moody.held) > 1
    assert totals(served) == (before[0] + said["begun"], before[1], before[2] + said["events_acked"])
    sessions = newest(served, said["begun"])
    assert len({one["session_id"] for one in sessions}) == said["begun"] > 20
    assert_as_scripted(served, sessions, seed=9, run=swarm.run)
    for key, at in moody.held:  # what had been sent already may still arrive in the first moments
        assert not [1 for other, when in moody.asked if other == key and at + 0.3 < when < at + 0.95]


def test_the_servers_own_limit_is_waited_for(served: Server) -> None:
    key = executor_key(served, "slow", 5)

    async def run() -> BotTally:
        tally = BotTally()
        client = Client(served.url, 4)
        reporter = Reporter(client, key, tally)
        body = orjson.dumps({"session_id": "limited", "profile_id": "p"})
        calls = [asyncio.create_task(reporter.register(body)) for _ in range(6)]
        done, waiting = await asyncio.wait(calls, timeout=2)
        assert len(done) == 5 and len(waiting) == 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        client.close()
        return tally

    assert apart(run).retries == {"429": 1}  # asked once, and waits as long as it was told
    served.http.post("/api/sessions/end", json={"session_id": "limited", "success": True}).raise_for_status()


def test_one_bad_item_does_not_take_its_list_with_it(served: Server) -> None:
    key = executor_key(served, "lists", 1_000_000)
    before = totals(served)

    async def run() -> tuple[list[bool], BotTally]:
        tally = BotTally()
        client = Client(served.url, 4)
        reporter = Reporter(client, key, tally, batch=3)
        assert await reporter.register(orjson.dumps({"session_id": "known", "profile_id": "p"}))
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        bodies = [event_body(name, 0, "click", at, "{}") for name in ("known", "nobody")] + [
            event_body("known", 1, "scroll", at, "{}")
        ]
        taken = await asyncio.gather(*(reporter.event(body) for body in bodies))
        assert await reporter.end(orjson.dumps({"session_id": "known", "success": True}))
        client.close()
        return taken, tally

    taken, tally = apart(run)
    assert taken == [True, False, True]
    assert tally.refused == {404: 1}
    assert totals(served) == (before[0] + 1, before[1], before[2] + 2)
