"""The simulated fleet is the same in every run, and what it measures is plausible and valid."""

import math

import orjson
import pytest

from app.connectors.schemas import Hello
from app.metrics.schemas import SampleIn
from app.simulator.curves import encoded, measured, moments, rate_and_total
from app.simulator.gate import Gate
from app.simulator.machines import TENANTS, Machine
from app.simulator.tally import Lags
from app.simulator.wire import frame

NOON = 1_770_000_000.0
FLEET = [Machine(1, number) for number in range(300)]


def test_the_same_seed_gives_the_same_samples():
    again = [Machine(1, number) for number in range(300)]
    assert [encoded(m, NOON, 1) for m in FLEET] == [encoded(m, NOON, 1) for m in again]
    assert encoded(Machine(2, 0), NOON, 1) != encoded(Machine(1, 0), NOON, 1)


def test_every_sample_and_inventory_is_valid(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("app.metrics.schemas.clock_fault", lambda at: None)
    for machine in FLEET:
        sample = SampleIn.model_validate_json(encoded(machine, NOON, 7)).sample(1)
        assert sample.seq == 7 and sample.at == int(NOON * 1000)
        hello = {"connector_id": machine.connector_id, "interval": 10, "inventory": machine.inventory(NOON)}
        assert Hello.model_validate_json(orjson.dumps(hello)).inventory.hostname == machine.name


def test_a_fleet_is_mixed():
    assert {m.tenant for m in FLEET} == set(TENANTS)
    assert {m.system.family for m in FLEET} == {"linux", "windows", "macos"}
    assert len({m.name for m in FLEET}) == len({m.connector_id for m in FLEET}) == len(FLEET)
    assert 0 < sum(m.fills_up for m in FLEET) < 30
    assert 0 < sum(m.fails for m in FLEET) < 30


def test_values_change_and_stay_within_bounds():
    for machine in FLEET[:40]:
        day = [measured(machine, NOON + 600 * n) for n in range(144)]
        assert all(0 <= s["cpu_percent"] <= 100 and 0 <= s["memory_percent"] <= 100 for s in day)
        assert all(0 <= s["disk_usage"][0]["percent"] <= 100 for s in day)
        assert len({s["cpu_percent"] for s in day}) > 20


def test_counters_rise_and_agree_with_the_rates():
    rate, total = rate_and_total(1000.0, 1.0, NOON, NOON + 500)
    _, later = rate_and_total(1000.0, 1.0, NOON, NOON + 501)
    assert later > total and math.isclose(later - total, rate, rel_tol=0.02)


def test_failing_computers_are_quiet_for_minutes_and_take_no_samples_then():
    machine = next(m for m in FLEET if m.fails)
    quiet = [n for n in range(3600) if machine.is_quiet(NOON + n)]
    assert 3 * 120 <= len(quiet) <= 4 * 300
    taken = moments(machine, 10, NOON, NOON + 3600)
    assert len(taken) < 340 and not any(machine.is_quiet(at) for at in taken)


def test_the_past_lies_on_the_same_grid_in_every_run():
    machine = FLEET[0]
    first, second = moments(machine, 60, NOON, NOON + 600), moments(machine, 60, NOON + 300, NOON + 900)
    assert set(first) & set(second) == {at for at in first if at > NOON + 300}


def test_a_frame_is_masked_and_carries_its_length():
    for size, head in ((5, 6), (200, 8), (70_000, 14)):
        payload = bytes(n % 251 for n in range(size))
        sent = frame(payload)
        key, body = sent[head - 4 : head], sent[head:]
        assert sent[1] & 0x80 and len(body) == size
        assert bytes(b ^ key[n % 4] for n, b in enumerate(body)) == payload


def test_the_gate_lets_so_many_in_at_a_time():
    gate, inside = Gate(2), []
    for number in range(4):
        gate.enter(lambda number=number: inside.append(number))
    assert inside == [0, 1]
    gate.leave()
    assert inside == [0, 1, 2]


def test_percentiles_are_exact_to_a_few_percent():
    lags = Lags()
    assert lags.percentile(0.99) == 0
    for milliseconds in range(1, 1001):
        lags.add(milliseconds / 1000)
    assert lags.percentile(0.5) == pytest.approx(0.5, rel=0.05)
    assert lags.percentile(0.99) == pytest.approx(0.99, rel=0.05)
    assert lags.longest == 1.0
