"""Certificates in the inventory: real ones, made here, and everything that is none."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from binnacle_connector import certificates as read
from binnacle_connector import inventory
from binnacle_connector.certificates import DEFAULT_CERTIFICATES, certificates
from binnacle_connector.config import ConfigError, check_certificates, load
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.connectors.schemas import InventoryFound

ENDS = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
KEY = ec.generate_private_key(ec.SECP256R1())
PRIVATE = KEY.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def named(**parts: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(getattr(NameOID, key), value) for key, value in parts.items()])


def make(subject: x509.Name, *, ends: datetime = ENDS, host: str | None = None, encoding: serialization.Encoding = PEM) -> bytes:
    """A certificate of a small authority."""
    made = x509.CertificateBuilder(
        named(ORGANIZATION_NAME="Let's Encrypt", COMMON_NAME="R11"), subject, KEY.public_key(), x509.random_serial_number(),
        ends - timedelta(days=90), ends,
    )  # fmt: skip
    if host:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return made.sign(KEY, hashes.SHA256()).public_bytes(encoding)


def test_whose_it_is_who_signed_it_and_when_it_ends(tmp_path: Path) -> None:
    chain = make(named(COMMON_NAME="shop.example.com")) + make(named(COMMON_NAME="R11"), ends=ENDS - timedelta(days=9))
    files = {
        "chain.pem": chain,
        "combined.pem": PRIVATE + make(named(COMMON_NAME="proxy.example.com")),
        "der.crt": make(named(COMMON_NAME="der.example.com"), encoding=DER),
        "modern.pem": make(x509.Name([]), host="modern.example.com"),
        "org.pem": make(named(ORGANIZATION_NAME="Überall GmbH"), ends=datetime(2090, 1, 1, tzinfo=UTC)),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = certificates([f"{tmp_path}/*"])
    assert [Path(one["path"]).name for one in found] == sorted(files)
    subjects = ["shop.example.com", "proxy.example.com", "der.example.com", "modern.example.com", "Überall GmbH"]
    assert [one["subject"] for one in found] == subjects
    assert {one["issuer"] for one in found} == {"Let's Encrypt, R11"}
    assert [one["not_after"] for one in found] == ["2031-05-06T07:08:09Z"] * 4 + ["2090-01-01T00:00:00Z"]
    assert {one["error"] for one in found} == {None}
    assert b"PRIVATE" not in json.dumps(found).encode()


def test_what_is_no_certificate_is_told_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = make(named(COMMON_NAME="good"), encoding=DER)
    files = {
        "broken.pem": b"-----BEGIN CERTIFICATE-----\nAAAA!\n-----END CERTIFICATE-----\n",
        "cut.der": good[:200],
        "deep.der": b"\x30\x80" * 5000,
        "empty.pem": b"",
        "huge.pem": b"x" * (read.MAX_BYTES + 1),
        "key.pem": PRIVATE,
        "list.pem": b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "text.pem": b"hello",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "pipe.pem")
    (tmp_path / "folder.pem").mkdir()
    (tmp_path / "ring.pem").symlink_to(tmp_path / "ring.pem")
    (tmp_path / "z-good.der").write_bytes(good)
    found = {Path(one["path"]).name: one for one in certificates([f"{tmp_path}/*", f"{tmp_path}/gone.pem", f"{tmp_path}/none/*"])}
    assert found.pop("z-good.der")["error"] is None
    assert found.keys() == {*files, "pipe.pem", "folder.pem", "gone.pem", "ring.pem"}
    said = {name: one["error"] for name, one in found.items()}
    assert (
        said["gone.pem"] == "it does not exist"
        and said["pipe.pem"] == "it is no file"
        and said["huge.pem"] == "it is larger than 1 MiB"
    )
    assert {said[name] for name in ("empty.pem", "key.pem", "text.pem")} == {"it holds no certificate"}
    assert all(said[name].startswith("its certificate is damaged") for name in ("broken.pem", "cut.der", "deep.der", "list.pem"))
    assert "directory" in said["folder.pem"] and said["ring.pem"]
    assert all(one["not_after"] is None for one in found.values())

    def closed(folder: str) -> None:
        raise PermissionError(folder)

    monkeypatch.setattr(read.os, "scandir", closed)
    (shut,) = certificates(["/closed/live/*/fullchain.pem"])
    assert (shut["path"], shut["error"]) == ("/closed/live/*/fullchain.pem", "its folder may not be listed")


def test_there_are_at_most_two_hundred_each_once(tmp_path: Path) -> None:
    data = make(named(COMMON_NAME="many"))
    for number in range(205):
        (tmp_path / f"{number:03}.pem").write_bytes(data)
    found = certificates([f"{tmp_path}/00*.pem", f"{tmp_path}/*.pem"])
    assert len(found) == len({one["path"] for one in found}) == 200


def test_the_inventory_holds_them_and_changes_with_them(tmp_path: Path) -> None:
    file, where = tmp_path / "a.pem", tmp_path / "inventory.json"
    file.write_bytes(make(named(COMMON_NAME="a")))
    first = inventory.write(where, [str(file)])
    assert json.loads(where.read_text())["certificates"][0]["subject"] == "a"
    assert inventory.write(where, [str(file)]) == first
    file.write_bytes(make(named(COMMON_NAME="a"), ends=ENDS + timedelta(days=90)))
    assert inventory.write(where, [str(file)]) != first


def test_the_console_takes_them_as_they_are_told(tmp_path: Path) -> None:
    for name, ends in (("a.pem", ENDS), ("b.pem", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))):
        (tmp_path / name).write_bytes(make(named(COMMON_NAME="x" * 64), ends=ends))
    (tmp_path / "c.pem").write_bytes(b"")
    told = json.dumps(inventory.collect([f"{tmp_path}/*.pem"]))
    found = InventoryFound.model_validate_json(told).parts()[0]["certificates"]
    assert [one["not_after"] for one in found] == ["2031-05-06T07:08:09Z", "9998-12-31T23:59:59Z", None]
    assert [one["error"] for one in found] == [None, None, "it holds no certificate"]


def test_which_files_they_are_is_a_setting(tmp_path: Path) -> None:
    assert check_certificates(None) == check_certificates("auto") == check_certificates("") == DEFAULT_CERTIFICATES
    assert check_certificates("off") == check_certificates(["OFF"]) == ()
    assert check_certificates("/a.pem, /b/*.pem ,/a.pem") == ("/a.pem", "/b/*.pem")
    assert check_certificates(["/x,y.pem", "auto"]) == ("/x,y.pem", *DEFAULT_CERTIFICATES)
    for wrong in ("here.pem", "/a.pem,off", "/a\n.pem", "/" + "a" * 1001, [f"/{n}.pem" for n in range(101)], {"a": 1}, 7):
        with pytest.raises(ConfigError, match="certificates"):
            check_certificates(wrong)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"server": "http://127.0.0.1:1", "key": "chatops_abc", "certificates": ["/etc/own/*.pem"]}))
    file.chmod(0o600)
    assert load({"config": str(file)}, {}).certificates == ("/etc/own/*.pem",)
    assert load({"config": str(file)}, {"BINNACLE_CONNECTOR_CERTIFICATES": "off"}).certificates == ()
