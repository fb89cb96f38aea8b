"""https means a verified certificate."""

from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")


@pytest.fixture
def secure(console, tmp_path):
    """The console behind TLS; gives its certificate, which is its own authority."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    asked = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", *asked.split(), *names], check=True, capture_output=True)
    console.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    console.tls.load_cert_chain(cert, key)
    return cert


def test_samples_travel_over_tls_with_the_named_authority(console, machine, secure, eventually) -> None:
    machine.start(console.url, ca_file=str(secure))
    eventually(lambda: len(console.stored) >= 20)
    assert console.url.startswith("https:") and len(console.peers) == 1


def test_a_certificate_that_nobody_vouches_for_gets_no_key(console, machine, secure, eventually) -> None:
    connector = machine.start(console.url)
    eventually(lambda: console.attempts >= 3)
    assert not console.peers and not console.messages and connector.healthy()
