"""Simulated sessions are the same for the same seed, plausible, and valid for contract 003."""

import statistics
from collections import Counter, defaultdict

import orjson

from app.proxy_address import mask, parse_proxy
from app.sessions.counters import normalised
from app.sessions.models import EventType
from app.sessions.schemas import EndIn, EventIn, RegisterIn, moment_ms
from app.simulator.bots import FEWEST, LONGEST_S, MOST, SHORTEST_S, script
from app.simulator.machines import TENANTS
from app.simulator.reporter import event_body
from app.simulator.sites import EXITS, SITES

SCRIPTS = [script(1, number, 7) for number in range(3000)]


def test_the_same_seed_gives_the_same_sessions() -> None:
    assert [script(1, number, 7) for number in range(300)] == SCRIPTS[:300]
    assert script(2, 0, 7).steps != SCRIPTS[0].steps


def test_another_run_has_other_ids_and_otherwise_the_same_sessions() -> None:
    again = [script(1, number, 8) for number in range(300)]
    assert not {plan.session_id for plan in again} & {plan.session_id for plan in SCRIPTS}
    for plan, before in zip(again, SCRIPTS, strict=False):
        assert (plan.tenant, plan.register, plan.duration, plan.error) == (
            before.tenant,
            before.register,
            before.duration,
            before.error,
        )
        assert [step[:2] for step in plan.steps] == [step[:2] for step in before.steps]


def test_everything_that_is_sent_is_valid() -> None:
    for plan in SCRIPTS[:400]:
        assert RegisterIn.model_validate_json(orjson.dumps({"session_id": plan.session_id, **plan.register})).new().proxy
        EndIn.model_validate_json(
            orjson.dumps({"session_id": plan.session_id, "success": plan.success, "duration": plan.duration, "error": plan.error})
        )
        keys = set()
        for number, step in enumerate(plan.steps):
            body = event_body(plan.session_id, number, step.kind, "2026-02-03T04:05:06.789+00:00", step.details)
            event = EventIn.model_validate_json(body)
            keys.add(event.event_id)
            assert event.details == orjson.loads(step.details)
        assert len(keys) == len(plan.steps)
    assert moment_ms() > 0


def test_a_session_has_5_to_30_events_in_order_and_lasts_2_to_120_seconds() -> None:
    for plan in SCRIPTS:
        assert FEWEST <= len(plan.steps) <= MOST
        assert SHORTEST_S <= plan.duration <= LONGEST_S
        times = [step.at for step in plan.steps]
        assert times == sorted(times)
        assert times[0] > 0 and times[-1] <= plan.duration
    durations = [plan.duration for plan in SCRIPTS]
    assert 8 < statistics.median(durations) < 25
    assert max(durations) > 90


def test_every_type_of_event_occurs_and_a_page_loads_as_long_as_it_says() -> None:
    kinds = Counter(step.kind for plan in SCRIPTS for step in plan.steps)
    assert set(kinds) == {kind.value for kind in EventType}
    for plan in SCRIPTS[:300]:
        for before, step in zip(plan.steps, plan.steps[1:], strict=False):
            details = orjson.loads(step.details)
            if step.kind == "page_load":
                assert before.kind == "navigation"
                assert abs((step.at - before.at) * 1000 - details["load_time_ms"]) <= 1.01
            if step.kind == "screenshot":
                assert details["url"].startswith("https://")


def test_a_failed_session_ends_with_the_error_that_it_reports() -> None:
    failed = [plan for plan in SCRIPTS if not plan.success]
    assert 0.08 < len(failed) / len(SCRIPTS) < 0.2
    for plan in failed:
        last = plan.steps[-1]
        assert last.kind == "error"
        assert orjson.loads(last.details)["message"] == plan.error
    said = {plan.error for plan in failed}
    for part in (
        "net::ERR_PROXY_CONNECTION_FAILED at https://",
        "Blocked by captcha",
        "Selector not found: '",
        "Navigation timeout of 30000 ms",
    ):
        assert any(part in error for error in said), part
    assert len(said) > 100
    assert 8 < len({normalised(error) for error in said}) < 120


def test_some_proxies_are_bad_altogether_and_some_for_one_target_only() -> None:
    assert len(SITES) == 12
    assert 35 <= len(EXITS) <= 45
    assert len({parse_proxy(one.address).host + str(parse_proxy(one.address).port) for one in EXITS}) == len(EXITS)
    assert 4 <= sum(mask(one.address) != one.address for one in EXITS) <= 12
    outcomes: dict[tuple[str, bool], list[bool]] = defaultdict(list)
    for plan in SCRIPTS:
        exit_ = next(one for one in EXITS if one.address == plan.register["proxy"])
        kind = "blocked" if exit_.bad_for else "bad" if exit_.works < 0.5 else "shaky" if exit_.works < 0.9 else "good"
        outcomes[kind, bool(exit_.bad_for) and f"//{exit_.bad_for}/" in plan.register["target_url"]].append(plan.success)
    rates = {key: statistics.mean(values) for key, values in outcomes.items()}
    assert rates["bad", False] < 0.45 < 0.55 < rates["shaky", False] < 0.85
    assert rates["good", False] > 0.93 and rates["blocked", False] > 0.93
    assert rates["blocked", True] < 0.35


def test_a_profile_keeps_its_device_and_country() -> None:
    known: dict[tuple[str, str], tuple[str, str]] = {}
    for plan in SCRIPTS:
        own = plan.register["device"], plan.register["country"]
        assert known.setdefault((plan.tenant, plan.register["profile_id"]), own) == own
    assert {device for device, _ in known.values()} == {"desktop", "mobile", "tablet"}
    assert {tenant for tenant, _ in known} == set(TENANTS)
