"""Which builder answers a model that transformers does not have; nothing of its code runs unasked."""

import shutil

import pytest

from tests import checkpoints
from tests.builders import phi3_v, sandbox
from tests.cli.program import LLAVA, call, cells, run, save
from vlm_inspect.builders.sandbox import process

TOTAL = 4_146_621_440
ROW = [
    "`Phi3VForCausalLM`",
    "`CLIPVisionModel`",
    "24 layers",
    "Conv2d(3, 1024) + Embedding(577)",
    "`CLIPAttention`",
    "`CLIPMLP` (1024 -> 4096 -> 1024)",
    "LayerNorm((1024,), eps=1e-05)",
    "Linear(4096 -> 3072) + GELU + Linear",
    "`Phi3VModel`",
    "32 layers",
    "`Phi3FlashAttention2`",
    "`Phi3MLP` (3072 -> 8192 -> 3072)",
    "`Phi3RMSNorm`",
    "Linear(3072 -> 32064)",
]
CATALOGUED = "microsoft/Phi-3-vision-128k-instruct"
REPO = "org/phi"
SECRET = "hf_thisIsTheSecretOfTheTest"  # noqa: S105 - of no account
# without these, the code can be run
TRAPS = ("CANARY", "this code must not run")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The repository with code that must not run, in two shards of its real shapes."""
    folder = checkpoints.save(tmp_path_factory.mktemp("saved") / "phi", phi3_v.CONFIG, phi3_v.SHAPES, shards=2)
    for name, text in phi3_v.CODE.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def repository(here, saved):
    """A copy of it, its weights as links."""
    folder = here / "phi"
    folder.mkdir()
    for path in saved.iterdir():
        if path.suffix == ".safetensors":
            (folder / path.name).hardlink_to(path)
        else:
            shutil.copy(path, folder)
    return folder


@pytest.fixture
def forked(monkeypatch):
    """The repository's code runs in the fork of a warm process."""
    monkeypatch.setattr(process, "_start", sandbox.start)


@pytest.fixture
def trusted(forked, runnable):  # noqa: ARG001
    return runnable


@pytest.fixture
def runnable(repository):
    """The same with code that can be run."""
    path = repository / "modeling_phi3_v.py"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not any(trap in line for trap in TRAPS)))
    return repository


@pytest.fixture(autouse=True)
def canary(here, monkeypatch):
    """The file that the repository's code leaves behind where it is imported."""
    path = here / "canary"
    monkeypatch.setenv("CANARY", str(path))
    yield path
    assert not path.exists(), path.read_text()


def record(*asked):
    answer = call("show", *asked, "--format", "json")
    assert answer.code == 0, answer.stderr
    return answer.data


def configured(folder):
    """A configuration that names the repository, so that its snapshot is found again."""
    (folder / "vlm-inspect.toml").write_text('[[models]]\nid = "./phi"\n')


# --- nothing is run -----------------------------------------------------------------------------------


def test_the_row_is_complete(repository):
    answer = call("table", repository)
    assert cells(answer.stdout)[1][1:] == ROW
    assert (answer.code, answer.stderr) == (0, "")
    assert "- phi: Read from the names and shapes of its tensors; no code of its repo was run." in answer.stdout


def test_the_record_and_the_card_say_what_built_them(repository):
    told = record(repository)
    assert (told["builder"], told["parameters"]["total"]) == ("header", TOTAL)
    assert sum(part["parameters"] for part in told["components"]) == TOTAL
    assert "checkpoint headers" in call("show", repository).stdout
    assert cells(call("table", repository, "--columns", "model,builder").stdout)[1] == ["`phi`", "header"]


def test_no_command_runs_it(repository, here):
    configured(here)
    for asked in (["tree", repository], ["diff", repository, repository], ["snapshot"], ["check"]):
        answer = call(*asked)
        assert answer.code == 0, (asked, answer.stderr)
    assert len([*(here / "snapshots").iterdir()]) == 1
    assert call("verify", repository).code == 3


def test_it_is_not_run_in_a_process_of_its_own_either(repository, here, canary):
    answer = run("table", repository, cwd=here, CANARY=str(canary))
    assert (answer.code, cells(answer.stdout)[1][1:]) == (0, ROW)


def test_a_tree_shows_no_class_that_is_only_inferred(repository):
    configured(repository.parent)
    for path in repository.glob("*.py"):
        path.unlink()
    tree = call("tree", repository)
    assert "?" not in tree.stdout
    assert "(self_attn): unknown class(" in tree.stdout
    data = call("tree", repository, "--focus", "model.norm", "--format", "json").data
    assert (data["class_name"], data["unknown"]) == (
        None,
        {"class_name": "headers hold tensors, not classes"},
    )
    snapshot = call("snapshot")
    assert snapshot.code == 0
    assert call("check").code == 0
    assert '"?' not in next(iter(repository.parent.glob("snapshots/*.json"))).read_text()


def test_models_without_a_class_are_never_said_to_be_equal(repository):
    for path in repository.glob("*.py"):
        path.unlink()
    answer = call("diff", repository, repository, "--format", "json")
    assert answer.data["changes"] == []
    assert {"module classes", "attention", "norm", "class"} <= {fact["field"] for fact in answer.data["incomparable"]}


# --- the code is run where it is trusted --------------------------------------------------------------


def test_trusted_code_gives_the_same_classes_and_total(trusted):
    told = record(trusted, "--trust-remote-code")
    assert (told["builder"], told["parameters"]["total"]) == ("remote-code", TOTAL)
    row = cells(call("table", trusted, "--trust-remote-code").stdout)[1][1:]
    # a kernel that is not installed is left out
    assert row == ["`Phi3Attention`" if cell == "`Phi3FlashAttention2`" else cell for cell in ROW]
    assert "running the repo's own code, isolated" in call("table", trusted, "--trust-remote-code").stdout


@pytest.mark.usefixtures("forked")
def test_trusted_code_that_fails_is_an_error_and_leaves_nothing(repository, canary):
    answer = call("show", repository, "--trust-remote-code")
    assert (answer.code, answer.stdout) == (3, "")
    assert not canary.exists()


def test_trust_is_of_no_account_where_transformers_has_the_class(here):
    assert record(save(here, "llava", LLAVA), "--trust-remote-code")["builder"] == "transformers"


# --- one builder by name ------------------------------------------------------------------------------


def test_the_header_builder_answers_a_native_model_too(here):
    folder = checkpoints.save(here / "llava", LLAVA)
    assert record(folder)["builder"] == "transformers"
    by_headers = record(folder, "--builder", "header")
    assert by_headers["builder"] == "header"
    assert by_headers["parameters"]["total"] == record(folder)["parameters"]["total"]


def test_the_configuration_alone(repository):
    told = record(repository, "--builder", "config")
    assert (told["builder"], told["parameters"]["total"]) == ("config", None)


def test_transformers_alone_has_no_class(repository):
    answer = call("show", repository, "--builder", "transformers")
    assert answer.code == 3
    assert "Phi3VForCausalLM is code of its own repo" in answer.stderr


def test_remote_code_alone_needs_trust(trusted):
    answer = call("show", trusted, "--builder", "remote-code")
    assert answer.code == 3
    assert "--trust-remote-code" in answer.stderr
    assert record(trusted, "--builder", "remote-code", "--trust-remote-code")["builder"] == "remote-code"


def test_headers_alone_need_headers(here):
    answer = call("show", save(here, "llava", LLAVA), "--builder", "header")
    assert answer.code == 3
    assert "safetensors" in answer.stderr


def test_a_builder_of_no_such_name_is_a_usage_error(repository):
    assert call("show", repository, "--builder", "magic").code == 2


# --- what is not there --------------------------------------------------------------------------------


def test_an_unfinished_download_is_answered_from_the_configuration_and_says_so(repository):
    (repository / "model-00002-of-00002.safetensors").unlink()
    answer = call("show", repository, "--format", "json")
    assert answer.data["builder"] == "config"
    assert "answered from config.json alone: 1 of its weight files are missing" in answer.stderr
    partly = record(repository, "--builder", "header")
    assert partly["parameters"]["total"] is None
    assert partly["parameters"]["unknown"]["total"] == "model-00002-of-00002.safetensors is not there"


def test_a_pickle_is_never_opened(here):
    folder = save(here, "phi", phi3_v.CONFIG)
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
    answer = call("show", folder, "--format", "json")
    assert answer.data["builder"] == "config"
    assert "pytorch_model.bin" in answer.stderr
    assert "pickle" in answer.stderr


# --- the Hub ------------------------------------------------------------------------------------------


def publish(hub, folder, **who):
    return hub.add_model(REPO, {path.name: path for path in folder.iterdir()}, **who)


def test_of_a_repo_only_headers_travel_and_are_kept_for_later(hub, repository, here):
    commit = publish(hub, repository)
    cache = ("--cache-dir", here / "cache")
    answer = call("table", REPO, *cache)
    assert (cells(answer.stdout)[1][1:], answer.stderr) == (ROW, "")
    assert sum(request.body_bytes for request in hub.requests) < 300_000
    asked = len(hub.requests)
    told = record(REPO, *cache, "--offline")
    assert (told["builder"], told["model"]["revision"]) == ("header", commit)
    assert told["parameters"]["total"] == TOTAL
    assert len(hub.requests) == asked


def test_offline_without_cached_headers_it_is_the_configuration_that_answers(hub, repository, here):
    publish(hub, repository)
    cache = ("--cache-dir", here / "cache")
    record(REPO, *cache, "--builder", "config")
    answer = call("show", REPO, *cache, "--offline", "--format", "json")
    assert answer.data["builder"] == "config"
    assert "the cache has no headers" in answer.stderr


def test_trusted_code_of_a_repo_is_that_of_the_commit(hub, trusted, here):
    publish(hub, trusted)
    told = record(REPO, "--cache-dir", here / "cache", "--trust-remote-code")
    assert (told["builder"], told["parameters"]["total"]) == ("remote-code", TOTAL)


def test_the_token_goes_to_the_hub_and_to_no_other_host(hub, repository, here):
    small = checkpoints.save(here / "small", phi3_v.CONFIG, {"lm_head.weight": (4, 4)})
    files = {path.name: path for path in (*small.iterdir(), *repository.glob("*.py"))}
    hub.add_model(REPO, files, private=True, readers={SECRET}, large={"model.safetensors"})
    answer = call("show", REPO, "--token", SECRET, "--cache-dir", here / "cache", "--format", "json")
    assert answer.data["builder"] == "header"
    hosts = {request.host.partition(":")[0]: request.token for request in hub.requests}
    assert hosts == {"127.0.0.1": SECRET, "localhost": None}
    assert SECRET not in answer.stdout + answer.stderr


# --- the catalogue ------------------------------------------------------------------------------------


def test_the_catalogue_gives_the_whole_row_offline():
    answer = call("table", CATALOGUED, "--offline")
    assert (answer.code, answer.stderr) == (0, "")
    assert cells(answer.stdout)[1][1:] == ROW
    assert record(CATALOGUED, "--offline")["parameters"]["total"] == TOTAL


def test_what_the_catalogue_says_of_it_is_what_its_headers_say(repository):
    answer = call("diff", repository, CATALOGUED, "--offline", "--format", "json")
    # the test's configuration is shorter, and the class of an activation is that of the library of 2024
    fields = {change["field"] for change in answer.data["changes"]}
    assert fields == {"activation", "sliding window", "rotary base"}
    assert answer.data["paths"] == []
    assert answer.data["moves"] == []
