"""Proxies and certificates between here and the Hub: what is wrong with them, and what to set."""

import json
import shutil
import ssl
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.cli.program import run
from tests.hub_server import closed_port

HUB = "https://huggingface.invalid"


class Stranger(BaseHTTPRequestHandler):
    """A proxy that wants to know who asks; asked for a page itself it has none."""

    def do_CONNECT(self):
        self.send_response(407)
        self.send_header("Proxy-Authenticate", "Basic")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self):
        self.send_error(404)

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    running = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    thread = Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def certificate(tmp_path):
    """Signed by itself, for the loopback interface."""
    key, signed = tmp_path / "key.pem", tmp_path / "signed.pem"
    request = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1")
    named = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", signed)
    subprocess.run([shutil.which("openssl"), *request, *named], check=True, capture_output=True)
    return key, signed


def show(here, **env):
    done = run("show", "org/unseen", cwd=here, **{"NO_PROXY": None, "no_proxy": None, **env})
    assert done.code == 3
    assert "password" not in done.stderr
    return done.stderr


def doctor(here, **env):
    """What `doctor` says of the Hub."""
    env = {"NO_PROXY": None, "no_proxy": None, **env}
    done = run("doctor", "--format", "json", cwd=here, **env)
    assert "password" not in done.stdout
    (hub,) = (each for each in json.loads(done.stdout) if each["subject"] == "Hub")
    return hub


def test_a_proxy_that_is_not_there_is_named_by_its_variable(here):
    where = {"HF_ENDPOINT": HUB, "HTTPS_PROXY": f"http://user:password@127.0.0.1:{closed_port()}"}
    said = show(here, **where)
    assert "cannot be reached" in said
    assert "the proxy of HTTPS_PROXY" in said
    looked = doctor(here, **where)
    assert looked["state"] == "wrong"
    assert "the proxy of HTTPS_PROXY" in looked["hint"]


def test_a_proxy_that_wants_to_know_who_asks(here, server):
    said = show(here, HF_ENDPOINT=HUB, HTTPS_PROXY=f"http://127.0.0.1:{server.server_port}")
    assert "407 Proxy Authentication Required" in said
    assert "Set HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT" in said


@pytest.mark.parametrize("address", ["http://user:password@127.0.0.1:port", "ftp://user:password@127.0.0.1"])
def test_a_proxy_whose_address_is_none(here, address):
    assert "the proxy of HTTPS_PROXY" in show(here, HF_ENDPOINT=HUB, HTTPS_PROXY=address)


def test_a_socks_proxy_without_the_package_for_it(here):
    said = show(here, HF_ENDPOINT=HUB, ALL_PROXY="socks5://127.0.0.1:9")
    assert "a SOCKS proxy is set (ALL_PROXY)" in said
    assert "pip install socksio" in said


@pytest.mark.usefixtures("hub")
def test_hosts_without_a_proxy_are_reached_without_one(here):
    closed = f"http://127.0.0.1:{closed_port()}"
    assert "The Hub has no model org/unseen" in show(here, HTTP_PROXY=closed, NO_PROXY="127.0.0.1")
    assert "the proxy of HTTP_PROXY" in show(here, HTTP_PROXY=closed)


def test_a_certificate_that_nobody_knows_is_trusted_where_it_is_named(here, server, certificate):
    key, signed = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://127.0.0.1:{server.server_port}"
    said = show(here, HF_ENDPOINT=address)
    assert "self-signed certificate" in said
    assert "Set SSL_CERT_FILE=/path/to/ca.pem" in said
    assert "The Hub has no model" in show(here, HF_ENDPOINT=address, SSL_CERT_FILE=str(signed))
    looked = doctor(here, HF_ENDPOINT=address)
    assert "SSL_CERT_FILE" in looked["hint"]


def test_certificates_that_are_not_there_are_named_by_their_variable(here):
    said = show(here, HF_ENDPOINT=HUB, SSL_CERT_FILE=str(here / "none.pem"))
    assert "SSL_CERT_FILE names no certificates that can be read" in said


def test_a_hub_that_does_not_speak_tls(here, server):
    said = show(here, HF_ENDPOINT=f"https://127.0.0.1:{server.server_port}")
    assert "should begin with http or https" in said
