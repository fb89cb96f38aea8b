"""Secrets of a command: delivered to it, and in nothing that anybody can read afterwards; a canary is looked for everywhere."""

import base64
import sqlite3
import urllib.parse
from pathlib import Path

import pytest
from machines import Machine
from serving import Server, eventually

from app.runs import output
from app.runs.masking import MASK, Masker

CANARY = "sparrow-7f3a/Qz+8 é"


def encodings(value: str) -> list[str]:
    raw = value.encode()
    found = [value, urllib.parse.quote(value), urllib.parse.quote_plus(value), raw.hex(), raw.hex().upper()]
    for before in (b"", b"a", b"ab"):
        found += [base64.b64encode(before + raw + b"tail").decode(), base64.urlsafe_b64encode(before + raw).decode()]
    return found


@pytest.mark.parametrize("shown", encodings(CANARY))
def test_a_secret_is_masked_wherever_it_is_cut(shown: str) -> None:
    masker = Masker([CANARY])
    assert MASK in masker.mask(f"x {shown} y")
    core = max(masker.mask(shown).split(MASK), key=len)
    assert len(core) < 12, "nothing but what surrounds it is left"
    for cut in range(1, len(shown)):
        first, held = masker.feed("", f"x {shown[:cut]}")
        second, held = masker.feed(held, f"{shown[cut:]} y")
        assert first + second + masker.flush(held) == masker.mask(f"x {shown} y")
    text, held = "", ""
    for character in f"x {shown} y":
        more, held = masker.feed(held, character)
        text += more
    assert text + masker.flush(held) == masker.mask(f"x {shown} y")


def test_secrets_that_overlap_or_begin_alike_are_masked_whole() -> None:
    masker = Masker(["pass", "password-1", "1-and-more", "line one of it\nline two of it"])
    assert masker.mask("password-1-and-more") == MASK
    text, held = masker.feed("", "the pass")
    assert (text, held) == ("the ", "pass")
    assert masker.feed(held, "word-1")[0] == "", "it may go on with the other"
    assert masker.flush("passwor") == MASK, "nor is most of one shown at the end"
    assert masker.mask("got: line two of it.") == f"got: {MASK}."
    wrapped = base64.encodebytes(b"some words before it " + b"p" * 40 + b"password-1" + b"q" * 40).decode()
    assert MASK in masker.mask(wrapped) and "\n" in wrapped
    assert masker.mask("nothing to hide here") == "nothing to hide here"


def test_masking_leaves_the_json_of_a_result_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of secrets that also stand in numbers, in `true` and in the names of fields."""
    monkeypatch.setattr(output, "masker_of", lambda *_: Masker(["4711", "true", 'a"quote', "pid-x"]))
    said = {"pid-x": 4711, "port": 47110, "on": True, "none": None, "texts": ["is 4711", 'say a"quote'], "env": {"4711": 4711.5}}
    masked = output.masked_result("run", said, None)  # type: ignore[arg-type]
    assert masked == {"pid-x": MASK, "port": 47110, "on": True, "none": None, "texts": [f"is {MASK}", f"say {MASK}"],
                      "env": {MASK: 4711.5}}  # fmt: skip
    assert output.masked_result("run", None, None) is None  # type: ignore[arg-type]


def test_a_canary_is_nowhere(served: Server) -> None:
    """Not in a log, spec, journal, page, API answer, export, nor plain in the database."""
    ours = Machine(served, ours=True)
    asked = ours.run("deploy --quietly", secrets={"DEPLOY_KEY": CANARY}, timeout=60)
    message = ours.next()
    assert message["env"] == {"DEPLOY_KEY": CANARY}
    one = {"type": "command_output", "request_id": message["request_id"]}
    shown = [f"key={CANARY[:7]}", f"{CANARY[7:]}\n", *(f"{text}\n" for text in encodings(CANARY)), f"and {CANARY[:9]}"]
    for seq, text in enumerate(shown, 1):
        ours.agent.send(**one, seq=seq, stream="stdout", data=text)
        assert ours.agent.read("output_ack")["seq"] == seq
    ours.result(message, CANARY, 1, last_seq=len(shown), message=f"could not log in with {CANARY}")
    answer = asked.done()
    run = answer.json()["run_id"]
    assert answer.json()["stdout"].startswith(f"key={MASK}\n") and answer.json()["stdout"].endswith(f"and {MASK}")
    assert answer.json()["error"] == f"could not log in with {MASK}"
    people = served.sign_in()
    texts = [answer.text, served.words(), served.http.get("/api/v1/audit").text, served.http.get(f"/api/v1/runs/{run}").text,
             served.http.get(f"/api/v1/runs/{run}/log").text, served.http.get(f"/api/v1/runs/{run}/output").text,
             served.http.get(f"/api/v1/runs/{run}/steps/0/output").text, served.http.get("/api/v1/runs").text,
             people.get(f"/runs/{run}/").text, people.get(f"/runs/{run}/steps/0/log").text, people.get("/runs.csv").text,
             people.get("/runs/").text, people.get(f"/fleet/{ours.id}/console?run={run}").text, people.get("/events/").text]  # fmt: skip
    for text in texts:
        for secret in (CANARY, *encodings(CANARY), CANARY[:9], "sparrow", "c3BhcnJv"):
            assert secret not in text
    assert '"secrets": ["DEPLOY_KEY"]' in texts[2] or '"secrets":["DEPLOY_KEY"]' in texts[2], "the journal names it"
    if served.database_name is None:
        raw = b"".join(path.read_bytes() for path in Path(served.data).glob("binnacle.db*"))
        assert b"sparrow-7f" not in raw
        with sqlite3.connect(f"file:{served.data}/binnacle.db?mode=ro", uri=True) as database:
            assert not database.execute("SELECT 1 FROM run_logs WHERE text LIKE '%sparrow%'").fetchall()
    again = served.http.post(f"/api/v1/runs/{run}/again").json()["id"]
    message = ours.next()
    assert message["env"] == {"DEPLOY_KEY": CANARY}
    ours.result(message, f"again {CANARY}", 0)
    eventually(lambda: served.http.get(f"/api/v1/runs/{again}").json()["status"] == "succeeded")
    assert served.http.get(f"/api/v1/runs/{again}/output").text.strip() == f"again {MASK}"
    ours.close()


@pytest.mark.parametrize(
    "body",
    [
        {"secrets": {"A B": "long enough"}},
        {"secrets": {"A": "abc"}},
        {"secrets": {"A": 5}},
        {"secrets": []},
        {"secrets": {"A": "deploy"}},
        {"secrets": {"A": "x" * 9000}},
        {"secrets": {f"A{n}": "long enough" for n in range(21)}},
        {"secrets": {"SAME": "SAME"}},
    ],
)
def test_a_secret_that_cannot_be_kept_is_refused(served: Server, body: dict[str, object]) -> None:
    computer, _key = served.computer("refuses")
    answer = served.http.post(f"/api/v1/commands/{computer}", json={"command": "deploy", "queue": True, "wait": False} | body)
    assert answer.status_code == 422, answer.text
    assert "long enough" not in answer.text


def test_an_original_agent_is_given_no_secret(served: Server) -> None:
    machine = Machine(served)
    answer = machine.run("deploy", secrets={"KEY": "long enough"}).done()
    assert answer.json()["success"] is False and "secrets" in answer.json()["error"]
    machine.close()
