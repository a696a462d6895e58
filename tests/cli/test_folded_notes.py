from vlm_inspect.cli.output import Note, Output, dedupe_notes

DOWN = "http://hub cannot be reached: refused."


def test_a_note_on_one_model_is_left_as_it_is():
    text = f"{DOWN} a/b is answered from the cache, commit 0123456789ab."
    assert list(dedupe_notes([Note("a/b", text)])) == [text]


def test_what_is_said_of_several_models_is_said_once():
    notes = [Note(name, f"{DOWN} {name} is answered from the built-in catalogue.") for name in ("a/b", "c/d")]
    assert list(dedupe_notes(notes)) == [f"{DOWN} 2 models are answered from the built-in catalogue."]


def test_commits_differ_and_are_left_out():
    notes = [
        Note(name, f"{DOWN} {name} is answered from the cache, commit {number * 12}.")
        for name, number in (("a/b", "1"), ("c/d", "2"))
    ]
    assert list(dedupe_notes(notes)) == [f"{DOWN} 2 models are answered from the cache."]


def test_different_sentences_stay_apart_in_their_order():
    notes = [Note("a/b", "a/b is old."), Note("c/d", "c/d is new."), Note("e/f", "e/f is old.")]
    assert list(dedupe_notes(notes)) == ["2 models are old.", "c/d is new."]


def test_models_are_named_where_they_cannot_be_counted():
    assert list(dedupe_notes([Note("a/b", "see a/b."), Note("c/d", "see c/d.")])) == ["see a/b, c/d."]


def test_paths_of_several_models_are_not_joined():
    notes = [Note(name, f"{name} is read: /models/{name}/config.json is there.") for name in ("one", "two")]
    assert list(dedupe_notes(notes)) == [note.text for note in notes]


def test_one_model_that_is_asked_for_twice_is_one():
    assert list(dedupe_notes([Note("a/b", "a/b is old.")] * 2)) == ["a/b is old."]


def test_the_same_error_of_several_models_is_printed_once(capsys):
    output = Output("terminal")
    error = "torch is not installed in this Python."
    output.errors((name, error, "pip install torch") for name in ("a/b", "c/d", "a/b"))
    output.errors([("a/b", "is odd.", ""), ("c/d", "c/d is odd.", "")])
    assert capsys.readouterr().err.splitlines() == [
        "error: 2 models: torch is not installed in this Python.",
        "  pip install torch",
        "error: a/b: is odd.",
        "error: c/d is odd.",
    ]
