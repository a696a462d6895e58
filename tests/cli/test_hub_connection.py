"""Errors of proxies and certificates, and the variables to set."""

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


class AuthenticatingProxy(BaseHTTPRequestHandler):
    """A proxy that requires authentication; as a server it has no pages."""

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
    running = ThreadingHTTPServer(("127.0.0.1", 0), AuthenticatingProxy)
    thread = Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate for the loopback interface."""
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
    """The health check of the Hub."""
    env = {"NO_PROXY": None, "no_proxy": None, **env}
    done = run("doctor", "--format", "json", cwd=here, **env)
    assert "password" not in done.stdout
    (hub,) = (each for each in json.loads(done.stdout) if each["subject"] == "Hub")
    return hub


def test_unreachable_proxy_is_reported_by_its_variable(here):
    where = {"HF_ENDPOINT": HUB, "HTTPS_PROXY": f"http://user:password@127.0.0.1:{closed_port()}"}
    error = show(here, **where)
    assert "cannot be reached" in error
    assert "the proxy of HTTPS_PROXY" in error
    check = doctor(here, **where)
    assert check["state"] == "wrong"
    assert "the proxy of HTTPS_PROXY" in check["hint"]


def test_proxy_that_requires_authentication(here, server):
    error = show(here, HF_ENDPOINT=HUB, HTTPS_PROXY=f"http://127.0.0.1:{server.server_port}")
    assert "407 Proxy Authentication Required" in error
    assert "Set HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT" in error


@pytest.mark.parametrize("address", ["http://user:password@127.0.0.1:port", "ftp://user:password@127.0.0.1"])
def test_proxy_with_a_malformed_url(here, address):
    assert "the proxy of HTTPS_PROXY" in show(here, HF_ENDPOINT=HUB, HTTPS_PROXY=address)


def test_socks_proxy_without_its_package(here):
    error = show(here, HF_ENDPOINT=HUB, ALL_PROXY="socks5://127.0.0.1:9")
    assert "a SOCKS proxy is set (ALL_PROXY)" in error
    assert "pip install socksio" in error


@pytest.mark.usefixtures("hub")
def test_no_proxy_is_respected(here):
    closed = f"http://127.0.0.1:{closed_port()}"
    assert "The Hub has no model org/unseen" in show(here, HTTP_PROXY=closed, NO_PROXY="127.0.0.1")
    assert "the proxy of HTTP_PROXY" in show(here, HTTP_PROXY=closed)


def test_self_signed_certificate_is_trusted_if_it_is_set(here, server, certificate):
    key, signed = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://127.0.0.1:{server.server_port}"
    error = show(here, HF_ENDPOINT=address)
    assert "self-signed certificate" in error
    assert "Set SSL_CERT_FILE=/path/to/ca.pem" in error
    assert "The Hub has no model" in show(here, HF_ENDPOINT=address, SSL_CERT_FILE=str(signed))
    check = doctor(here, HF_ENDPOINT=address)
    assert "SSL_CERT_FILE" in check["hint"]


def test_missing_certificate_file_is_reported_by_its_variable(here):
    error = show(here, HF_ENDPOINT=HUB, SSL_CERT_FILE=str(here / "none.pem"))
    assert "SSL_CERT_FILE does not name a readable file" in error


def test_hub_without_tls(here, server):
    error = show(here, HF_ENDPOINT=f"https://127.0.0.1:{server.server_port}")
    assert "should begin with http or https" in error
