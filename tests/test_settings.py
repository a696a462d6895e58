import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_inspect.core.errors import SettingsError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.settings import AllowedNames, ModelEntry, Settings, TableEntry, find_settings, load_settings
from vlm_inspect.storage.markdown_blocks import block_names

KNOWN = AllowedNames(
    facts=("architecture", "fine_tuning", "year"),
    columns={
        "architectures": ("model", "model_class", "vision_encoder"),
        "comparison": ("model", "parameters", "fine_tuning"),
    },
)


def allowed():
    return KNOWN


WHOLE = """\
snapshots = "structure"
files = ["README.md", "../docs/models.md"]

[[models]]
id = "llava-hf/llava-1.5-7b-hf"
revision = "main"
alias = "LLaVA-1.5-7B"
[models.facts]
architecture = "Auto-regressive"
fine_tuning = true
year = 2023

[[models]]
id = "org/other"

[tables.comparison]
kind = "comparison"
models = ["LLaVA-1.5-7B", "org/other"]
columns = ["model", "parameters"]

[tables.all]
"""


@pytest.fixture
def load(tmp_path):
    def load_text(text, name="vlm-inspect.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return load_settings(path, allowed)

    return load_text


@pytest.fixture
def refused(load):
    def refuse_text(text, name="vlm-inspect.toml"):
        with pytest.raises(SettingsError) as caught:
            load(text, name)
        return caught.value

    return refuse_text


# --- reading


def test_a_whole_configuration_is_read(load, tmp_path):
    llava = ModelEntry(
        "llava-hf/llava-1.5-7b-hf",
        "main",
        "LLaVA-1.5-7B",
        {"architecture": "Auto-regressive", "fine_tuning": True, "year": 2023},
    )
    other = ModelEntry("org/other")
    assert load(WHOLE) == Settings(
        path=tmp_path / "vlm-inspect.toml",
        root=tmp_path,
        models=(llava, other),
        tables={
            "comparison": TableEntry(
                "comparison", "comparison", ("LLaVA-1.5-7B", "org/other"), ("model", "parameters")
            ),
            "all": TableEntry("all", "architectures"),
        },
        files=(tmp_path / "README.md", tmp_path / "../docs/models.md"),
        snapshots=tmp_path / "structure",
    )


def test_an_empty_file_is_a_configuration_with_defaults(load, tmp_path):
    assert load("") == Settings(tmp_path / "vlm-inspect.toml", tmp_path, snapshots=tmp_path / "snapshots")


def test_a_byte_order_mark_and_windows_line_endings_are_read(load):
    assert load("\ufeff" + WHOLE.replace("\n", "\r\n")).models[1].id == "org/other"


def test_a_pyproject_has_the_same_keys_in_its_section(load):
    section = WHOLE.replace("[[models", "[[tool.vlm-inspect.models").replace("[models", "[tool.vlm-inspect.models")
    section = "[tool.vlm-inspect]\n" + section.replace("[tables", "[tool.vlm-inspect.tables")
    mine, own = load(section, "pyproject.toml"), load(WHOLE)
    assert (mine.models, mine.tables, mine.files) == (own.models, own.tables, own.files)


def test_settings_can_be_pickled(load):
    settings = load(WHOLE)
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes


# --- names of models


def test_a_model_is_found_by_alias_and_by_id(load):
    settings = load(WHOLE)
    first, second = settings.models
    assert settings.model("LLaVA-1.5-7B") == settings.model("llava-hf/llava-1.5-7b-hf") == first
    assert settings.model("llava-hf/llava-1.5-7b-hf@main") == first
    assert settings.model("org/other") == second
    assert settings.model("org/none") is None
    assert (first.name, second.name) == ("LLaVA-1.5-7B", "org/other")


def test_an_id_may_include_its_revision(load):
    settings = load('[[models]]\nid = "org/name@v1"\n[[models]]\nid = "org/name"\nrevision = "v2"\n')
    assert [(model.id, model.revision) for model in settings.models] == [
        ("org/name", "v1"),
        ("org/name", "v2"),
    ]
    assert settings.model("org/name@v2") == settings.models[1]
    assert settings.model("org/name") is None


def test_a_table_has_its_own_models_or_all(load):
    settings = load(WHOLE + '[tables.few]\nmodels = ["org/other"]\n')
    assert settings.models_of(settings.tables["few"]) == (settings.models[1],)
    assert settings.models_of(settings.tables["all"]) == settings.models


def test_without_models_a_table_lists_ids(load):
    settings = load('[tables.few]\nmodels = ["org/one@v1", "org/two"]\n')
    assert settings.models_of(settings.tables["few"]) == (ModelEntry("org/one", "v1"), ModelEntry("org/two"))


@pytest.mark.parametrize(
    ("id_", "reference"),
    [
        ("org/name", "org/name"),
        ("./local", "{root}/local"),
        ("../beside", "{root}/../beside"),
        ("a/config.json", "{root}/a/config.json"),
        ("models/here", "{root}/models/here"),
        ("/elsewhere/model", "/elsewhere/model"),
        ("~/model/config.json", "~/model/config.json"),
    ],
)
def test_paths_start_at_the_configuration_file(load, tmp_path, id_, reference):
    (tmp_path / "models" / "here").mkdir(parents=True)
    entry = load(f'[[models]]\nid = "{id_}"\n').models[0]
    assert entry.id == id_
    assert entry.reference(tmp_path) == reference.format(root=tmp_path)
    assert (ModelRef.parse(entry.reference(tmp_path)).path is None) == (id_ == "org/name")


def test_a_folder_with_an_at_sign_is_a_folder(load, tmp_path):
    (tmp_path / "org" / "name@v1").mkdir(parents=True)
    entry = load('[[models]]\nid = "org/name@v1"\n').models[0]
    assert (entry.id, entry.revision) == ("org/name@v1", None)


# --- search


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_nearest_folder_wins(tmp_path):
    write(tmp_path / "vlm-inspect.toml")
    near = write(tmp_path / "a" / "pyproject.toml", "[tool.vlm-inspect]\n")
    (tmp_path / "a" / "b").mkdir()
    assert find_settings(tmp_path / "a" / "b", allowed).path == near


def test_in_one_folder_vlm_inspect_toml_wins(tmp_path):
    write(tmp_path / "pyproject.toml", "[tool.vlm-inspect]\n")
    own = write(tmp_path / "vlm-inspect.toml")
    assert find_settings(tmp_path, allowed).path == own


@pytest.mark.parametrize("text", ["", "[tool.ruff]\n", "[tool]\n", "tool = 3\n"])
def test_a_pyproject_without_the_section_is_skipped(tmp_path, text):
    above = write(tmp_path / "vlm-inspect.toml")
    write(tmp_path / "a" / "pyproject.toml", text)
    assert find_settings(tmp_path / "a", allowed).path == above


def test_a_folder_of_that_name_is_skipped(tmp_path):
    above = write(tmp_path / "vlm-inspect.toml")
    (tmp_path / "a" / "vlm-inspect.toml").mkdir(parents=True)
    assert find_settings(tmp_path / "a", allowed).path == above


def test_a_relative_start_is_resolved(tmp_path, monkeypatch):
    write(tmp_path / "vlm-inspect.toml")
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert find_settings(Path(), allowed).root == tmp_path


def test_without_a_configuration_there_are_no_settings(tmp_path, monkeypatch):
    monkeypatch.setattr("vlm_inspect.settings._is_file", lambda path: path.is_relative_to(tmp_path) and path.is_file())
    assert find_settings(tmp_path, allowed) is None


def test_a_removed_working_directory_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SettingsError, match="no longer exists"):
        find_settings(Path(), allowed)


# --- errors

MODEL = '[[models]]\nid = "org/one"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('snapshot = "x"', 'snapshot: unknown key "snapshot". Allowed: snapshots, files, models, tables.'),
        ('[[models]]\nID = "x"', 'models[0].ID: unknown key "ID". Allowed: id, revision, alias, facts.'),
        ("[tables.a]\ntitle = 'x'", 'tables.a.title: unknown key "title". Allowed: kind, models, columns.'),
        ("snapshots = 3", "snapshots: expected `str`, got `int`."),
        ("files = 'a'", "files: expected `array`, got `str`."),
        ("models = ['a']", "models[0]: expected `object`, got `str`."),
        ("[[models]]\nalias = 'a'", "models[0]: object missing required field `id`."),
        ("[[models]]\nid = 'a'\nalias = true", "models[0].alias: expected `str`, got `bool`."),
        ("[[tables.a]]", "tables.a: expected `object`, got `array`."),
        (
            MODEL + "facts.year = 2020-01-01",
            "models[0].facts.year: expected `bool | int | float | str`, got `date`.",
        ),
        (MODEL + "facts.year = nan", "models[0].facts.year: expected a number, got one that is not finite."),
        (MODEL + f"facts.year = {2**63}", f"models[0].facts.year: expected `int` <= {2**63 - 1}."),
        ("snapshots = ''", "snapshots: expected text that is not empty and contains no NUL."),
        (
            '[[models]]\nid = "a\\u0000b"',
            "models[0].id: expected text that is not empty and contains no NUL.",
        ),
        (
            "[tables.a]\ncolumns = []",
            "tables.a.columns: expected `array` of length >= 1.",
        ),
        (
            MODEL + "facts.yaer = 2020",
            'models[0].facts.yaer: unknown fact "yaer". Allowed: architecture, fine_tuning, year.',
        ),
        (
            "[tables.a]\nkind = 'comparision'",
            'tables.a.kind: unknown kind "comparision". Allowed: architectures, comparison.',
        ),
        (
            "[tables.a]\ncolumns = ['model', 'parameters']",
            'tables.a.columns[1]: unknown column "parameters". Allowed: model, model_class, vision_encoder.',
        ),
        (
            "[tables.a]\ncolumns = ['model', 'model']",
            'tables.a.columns[1]: "model" is already tables.a.columns[0].',
        ),
        (
            MODEL + "[tables.comparison]\nmodels = ['org/one', 'org/tow']",
            'tables.comparison.models[1]: unknown model "org/tow". Allowed: org/one.',
        ),
        (MODEL + MODEL, 'models[1].id: "org/one" is already models[0].'),
        (
            MODEL + 'revision = "v"\n[[models]]\nid = "org/one@v"',
            'models[1].id: "org/one@v" is already models[0].',
        ),
        (
            MODEL + 'alias = "A"\n[[models]]\nid = "org/two"\nalias = "A"',
            'models[1].alias: "A" already names models[0].',
        ),
        (
            MODEL + '[[models]]\nid = "org/two"\nalias = "org/one"',
            'models[1].alias: "org/one" already names models[0].',
        ),
        (
            '[[models]]\nid = "org/one@v1"\nrevision = "v2"',
            'models[0].revision: the id names revision "v1". Use one of the two.',
        ),
        ('[tables."a b"]', 'tables."a b": a table\'s name is that of a marked block: '),
        ("[tool.vlm-inspect]\n", "tool: only a pyproject.toml has a section [tool.vlm-inspect]."),
    ],
)
def test_an_invalid_value_is_an_error_with_file_key_and_allowed_values(refused, tmp_path, text, message):
    assert refused(text).message.startswith(f"{tmp_path / 'vlm-inspect.toml'}: {message}")


@pytest.mark.parametrize(
    ("text", "closest"),
    [
        ("snapshot = 'x'", "snapshots"),
        (MODEL + "facts.fine_tunning = 'x'", "fine_tuning"),
        ("[tables.a]\nkind = 'comparision'", "comparison"),
        ("[tables.a]\ncolumns = ['modelclass']", "model_class"),
        (MODEL + "[tables.a]\nmodels = ['org/oen']", "org/one"),
    ],
)
def test_the_closest_name_is_suggested(refused, text, closest):
    assert refused(text).hint == f'Did you mean "{closest}"?'


def test_an_id_that_is_listed_twice_is_ambiguous_in_a_table(refused):
    text = '[[models]]\nid = "org/one@v1"\n[[models]]\nid = "org/one@v2"\nalias = "new"\n'
    assert "Allowed: org/one@v1, new." in refused(text + '[tables.a]\nmodels = ["org/one"]').message


@pytest.mark.parametrize("id_", ["not a model", "a/b/c", "org/name@v1@v2", "@v1", "org--x/y"])
def test_an_invalid_id_is_an_error_at_its_key(refused, id_):
    assert f"models[0].id: {id_!r} is neither" in refused(f'[[models]]\nid = "{id_}"').message
    assert f"tables.a.models[0]: {id_!r} is neither" in refused(f'[tables.a]\nmodels = ["{id_}"]').message


def test_a_path_has_no_revision(refused):
    assert "models[0].id: " in refused('[[models]]\nid = "./a"\nrevision = "main"').message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("files = [\n  'a'\n  'b'\n]", r"is not valid TOML: .*\(at line 3, column 3\)"),
        ("a = 1\na = 2", "is not valid TOML: Cannot overwrite a value"),
        ("a = " + "[" * 100_000, "is not valid TOML"),
    ],
)
def test_invalid_toml_is_an_error_with_line_and_column(refused, text, message):
    found = refused(text).message
    assert "vlm-inspect.toml" in found
    assert re.search(message, found)


def test_an_unreadable_file_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match="could not be read: No such file"):
        load_settings(tmp_path / "none.toml", allowed)
    with pytest.raises(SettingsError, match="could not be read: Is a directory"):
        load_settings(tmp_path, allowed)
    with pytest.raises(SettingsError, match="could not be read: embedded null"):
        load_settings(tmp_path / "a\0b.toml", allowed)


def test_a_file_that_is_not_utf8_is_an_error(tmp_path):
    path = tmp_path / "vlm-inspect.toml"
    path.write_bytes('snapshots = "x"'.encode("utf-16"))
    with pytest.raises(SettingsError, match="is not UTF-8"):
        load_settings(path, allowed)


def test_a_given_pyproject_needs_the_section(refused):
    error = refused("[project]\n", "pyproject.toml")
    assert "has no [tool.vlm-inspect] section" in error.message
    assert "Add [tool.vlm-inspect]" in error.hint


# --- invariants


@given(st.text(max_size=6) | st.from_regex(r"[A-Za-z0-9_.\-]{1,6}", fullmatch=True))
def test_tables_and_markers_allow_the_same_names(tmp_path_factory, name):
    path = tmp_path_factory.getbasetemp() / "named.toml"
    quoted = "".join(f"\\U{ord(letter):08X}" for letter in name)
    path.write_text(f'[tables."{quoted}"]', encoding="utf-8")
    try:
        names = tuple(load_settings(path, allowed).tables)
    except SettingsError:
        names = ()
    try:
        marked = block_names(f"<!-- vlm-inspect:begin {name} -->\n<!-- vlm-inspect:end {name} -->")
    except Exception:  # noqa: BLE001 - refused, whatever the reason
        marked = ()
    assert (names == (name,)) == (marked == (name,))
