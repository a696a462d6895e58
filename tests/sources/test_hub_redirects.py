"""Where a Hub sends a request on to: what is followed, and that a token goes nowhere else."""

import pytest

from tests.hub_server import HubServer, closed_port
from tests.sources.lookups import NAME, OWN_CODE, READER, ask, every_lookup, options_of, publish
from vlm_inspect.errors import HubUnavailableError, SourceError
from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import load
from vlm_inspect.sources.bad_answers import UnlikeHubError
from vlm_inspect.sources.redirects import MOST_REDIRECTS, keeps_token, next_address

HUB = "https://hub.example/org/name/resolve/main/config.json"
NOT_FOLLOWED = {
    "a file": "file:///etc/passwd",
    "data": "data:application/json,{}",
    "another protocol": "ftp://hub.example/config.json",
    "a script": "javascript:alert(1)",
    "no host": "https://:443/",
    "no number as port": "https://hub.example:port/",
    "a port that is none": "https://hub.example:0/",
    "a broken IPv6 address": "https://[::1/",
    "a zone": "https://[fe80::1%25eth0]/",
    "a space": "https://hub.example/a b",
    "a control character": "https://hub.example/a\x00b",
    "another alphabet": "https://hüb.example/",
    "no end": "https://hub.example/" + "a" * 100_000,
    "plain http": "http://hub.example/config.json",
    "plain http elsewhere": "http://cdn.example/config.json",
    "a cloud's metadata": "https://169.254.169.254/latest/meta-data",
    "the same, as a number": "https://2852039166/",
    "the same, in hexadecimal": "https://0xa9fea9fe/",
    "the same, in octal": "https://0251.0376.0251.0376/",
    "the same, as IPv6": "https://[::ffff:169.254.169.254]/",
    "the link": "https://[fe80::1]/",
    "this machine": "https://localhost/",
    "this machine, by a name of it": "https://me.localhost:8080/",
    "this machine, with a dot": "https://localhost./",
    "this machine, as a number": "https://127.1/",
    "this machine, as IPv6": "https://[::1]/",
    "any machine": "https://0.0.0.0/",
    "a private network": "https://10.0.0.1/",
    "another private network": "https://192.168.1.1/",
    "a private network, as IPv6": "https://[fd00::1]/",
}


@pytest.fixture
def other():
    """Another Hub, on another port of this machine."""
    server = HubServer()
    yield server
    server.close()


# some versions of httpx look at the address before anyone can, and say themselves that it is none
_NOT_FOLLOWED = "does not answer as a Hub does: it redirects|cannot be reached: For absolute URLs"


@pytest.fixture
def options(tmp_path):
    return options_of(tmp_path)


@pytest.mark.parametrize("location", NOT_FOLLOWED.values(), ids=NOT_FOLLOWED.keys())
def test_an_address_that_no_hub_names_is_not_followed(location):
    with pytest.raises(UnlikeHubError, match="it redirects"):
        next_address(HUB, location)


@pytest.mark.parametrize(
    ("current", "location", "target"),
    [
        (HUB, "/api/resolve-cache/x", "https://hub.example/api/resolve-cache/x"),
        (HUB, "https://cdn.example/x?Signature=a~b", "https://cdn.example/x?Signature=a~b"),
        (HUB, "https://8.8.8.8/x", "https://8.8.8.8/x"),
        (HUB, "//cdn.example/x", "https://cdn.example/x"),
        ("http://mirror.example/x", "https://mirror.example/x", "https://mirror.example/x"),
        # a mirror in a private network, and what it keeps its files in
        ("http://10.0.0.1/x", "http://192.168.1.7:9000/x", "http://192.168.1.7:9000/x"),
        ("http://127.0.0.1:8080/x", "http://localhost:9000/x", "http://localhost:9000/x"),
        ("http://127.0.0.1:8080/x", "http://10.0.0.1/x", "http://10.0.0.1/x"),
    ],
)
def test_what_hubs_and_mirrors_do_is_followed(current, location, target):
    assert next_address(current, location) == target


@pytest.mark.parametrize(
    ("target", "keeps"),
    [
        ("https://hub.example/elsewhere", True),
        ("https://hub.example:443/elsewhere", True),
        ("https://HUB.example/elsewhere", True),
        ("https://hub.example:8443/elsewhere", False),
        ("http://hub.example/elsewhere", False),
        ("http://hub.example:443/elsewhere", False),
        ("https://cdn.hub.example/", False),
        ("https://hub.example.evil.example/", False),
        ("https://hub.example@evil.example/", False),
    ],
)
def test_a_token_stays_with_scheme_host_and_port(target, keeps):
    assert keeps_token(HUB, target) is keeps


@every_lookup
@pytest.mark.parametrize("elsewhere", ["another port", "another host"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_token_does_not_follow(hub, other, options, tmp_path, file, look_up, elsewhere, status):
    commit = publish(hub, tmp_path)
    target = other.url if elsewhere == "another port" else other.cdn_url
    hub.fault(file, status=status, headers={"Location": f"{target}/taken{file}"})

    with pytest.raises(SourceError):
        ask(look_up, commit, options)

    assert [request.token for request in other.requests] == [None] * len(other.requests)
    assert other.requests
    assert all(request.token == READER for request in hub.requests)


def test_the_token_does_not_come_back_with_a_redirect_that_does(hub, other, options, tmp_path):
    publish(hub, tmp_path)
    hub.fault("config.json", times=1, status=302, headers={"Location": f"{other.url}/back"})
    other.fault("/back", status=302, headers={"Location": f"{hub.url}/{NAME}/resolve/main/config.json"})

    with pytest.raises(SourceError):
        load(ModelRef(NAME), options)

    assert [request.token for request in hub.requests[:2]] == [READER, None]
    assert {request.token for request in other.requests} == {None}


@every_lookup
@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "data:,{}", "ftp://127.0.0.1/x", "http://169.254.169.254/latest/meta-data"],
)
def test_a_redirect_that_is_not_followed_is_an_answer_that_no_hub_gives(
    hub, options, tmp_path, file, look_up, location
):
    commit = publish(hub, tmp_path)
    hub.fault(file, status=302, headers={"Location": location})

    with pytest.raises(HubUnavailableError, match=_NOT_FOLLOWED) as caught:
        ask(look_up, commit, options)

    assert caught.value.model == NAME
    hub.faults.clear()
    assert ask(look_up, commit, options)


@every_lookup
def test_a_circle_of_redirects_is_left(hub, options, tmp_path, file, look_up):
    commit = publish(hub, tmp_path)
    hub.fault(file, status=302, headers={"Location": f"/round/{file}"})

    with pytest.raises(HubUnavailableError, match=f"redirects more than {MOST_REDIRECTS} times"):
        ask(look_up, commit, options)

    assert sum(request.path == f"/round/{file}" for request in hub.requests) == MOST_REDIRECTS


def test_a_redirect_to_nobody_is_told_as_such(hub, options, tmp_path):
    publish(hub, tmp_path)
    hub.fault(
        "config.json", method="GET", status=302, headers={"Location": f"http://localhost:{closed_port()}/"}
    )

    with pytest.raises(HubUnavailableError, match="Connection refused"):
        load(ModelRef(NAME), options)


def test_a_redirect_without_an_address_is_no_answer(hub, options, tmp_path):
    publish(hub, tmp_path)
    hub.fault("config.json", method="GET", status=302)

    with pytest.raises(HubUnavailableError, match="it answers 302, which says nothing of the file"):
        load(ModelRef(NAME), options)


def test_another_host_gives_the_file_that_the_hub_sends_to(hub, other, options, tmp_path):
    publish(hub, tmp_path)
    copy = other.add_model(NAME, {"config.json": OWN_CODE})
    target = f"{other.cdn_url}/{NAME}/resolve/{copy}/config.json"
    other.fault("config.json", without=("X-Repo-Commit",))
    hub.fault("config.json", method="GET", status=302, headers={"Location": target})

    assert load(ModelRef(NAME), options).config == OWN_CODE
    assert [request.token for request in other.requests] == [None]
