import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm_inspect.core.errors import DocumentError
from vlm_inspect.storage.atomic import write_file
from vlm_inspect.storage.markdown_blocks import block_names, read_document, replace_blocks, update_document

TWO_BLOCKS = """\
# Models

<!-- vlm-inspect:begin one -->
old
<!-- vlm-inspect:end one -->
between
<!-- vlm-inspect:begin two -->
<!-- vlm-inspect:end -->
after"""


def block(name, inside="", newline="\n"):
    return f"<!-- vlm-inspect:begin {name} -->{newline}{inside}<!-- vlm-inspect:end {name} -->{newline}"


def refused(text, blocks=None):
    with pytest.raises(DocumentError) as caught:
        replace_blocks(text, {"one": "1", "two": "2"} if blocks is None else blocks, name="README.md")
    return caught.value


# --- what a block is


def test_only_the_content_of_blocks_is_replaced():
    assert replace_blocks(TWO_BLOCKS, {"one": "new\nlines", "two": "2\n"}, name="README.md") == (
        "# Models\n\n<!-- vlm-inspect:begin one -->\nnew\nlines\n<!-- vlm-inspect:end one -->\nbetween\n"
        "<!-- vlm-inspect:begin two -->\n2\n<!-- vlm-inspect:end -->\nafter"
    )


@pytest.mark.parametrize(
    "marker",
    [
        "<!--vlm-inspect:begin one-->",
        "<!--   vlm-inspect:begin\tone   -->",
        "   <!-- vlm-inspect: begin one -->  \t",
        "\ufeff<!-- vlm-inspect:begin one -->",
    ],
)
def test_whitespace_in_and_around_a_marker_is_allowed(marker):
    text = f"{marker}\nold\n<!-- vlm-inspect:end -->"
    assert replace_blocks(text, {"one": "new"}, name="f") == f"{marker}\nnew\n<!-- vlm-inspect:end -->"


@pytest.mark.parametrize(
    "example",
    [
        "```\n{}```\n",
        "```markdown\n{}```\n",
        "   ~~~~ html ` ```\n{}~~~\n~~~~~  \n",
        "````\n```\n{}```\n````\n",
        "```\n{}",
        "`` ` `<!-- vlm-inspect:begin one -->` ``` and`` ```<!-- vlm-inspect:end``-->``` a\n",
        "text `<!-- vlm-inspect:begin one -->` and ``a ` <!-- vlm-inspect:end -->``\n",
        "\n    <!-- vlm-inspect:begin one -->\n\t<!-- vlm-inspect:end one -->\n",
        "\n  \t<!-- vlm-inspect:begin one -->\n",
    ],
)
def test_markers_in_code_are_examples(example):
    text = block("two") + example.format(block("one"))
    assert block_names(text) == ("two",)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_content_gets_the_line_ending_of_its_begin_marker(newline):
    text = "a\n" + block("one", "x\r\ny\n", newline)
    expected = "a\n" + block("one", f"1{newline}2{newline}3{newline}", newline)
    assert replace_blocks(text, {"one": "1\n2\r\n3"}, name="f") == expected


def test_half_a_surrogate_pair_is_replaced():
    assert replace_blocks(block("one"), {"one": "a\ud83db\udcff"}, name="f") == block("one", "a\ufffdb\ufffd\n")


@pytest.mark.parametrize("content", ["<!-- vlm-inspect:end one -->", "```\nopen", block("x"), "a <!-- vlm-inspect:x"])
def test_content_that_would_hide_its_end_marker_is_an_error(content):
    assert "'one'" in refused(block("one"), {"one": content}).message


# --- errors


def test_the_error_without_markers_has_the_two_lines_to_add():
    error = refused("# Models\n", {"comparison": "", "other": ""})
    assert error.message == "README.md has no markers for generated text."
    assert error.hint.splitlines() == [
        "Add these two lines to README.md where the text should go:",
        "<!-- vlm-inspect:begin comparison -->",
        "<!-- vlm-inspect:end comparison -->",
    ]


def test_the_error_without_markers_mentions_a_marker_in_code():
    assert "line 3 is code" in refused("a\n```\n" + block("one") + "```\n").message


def test_an_unknown_name_is_an_error_with_the_known_and_the_closest():
    error = refused("\n" + block("comparson"), {"architectures": "", "comparison": ""})
    assert error.message == (
        "README.md, line 2: unknown marker 'comparson'; the configuration has: architectures, comparison."
    )
    assert error.hint == "Did you mean 'comparison'?"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "\n<!-- vlm-inspect:begin one -->\n",
            "line 2: block 'one' begins here and has no end",
            "end one -->",
        ),
        ("a\n<!-- vlm-inspect:end one -->\n", "line 2: this end marker has no begin marker", "begin one -->"),
        ("<!-- vlm-inspect:end -->\n", "line 1: this end marker has no begin marker", "remove line 1"),
        (block("one") + block("one"), "line 3: block 'one' is already on line 1", "another name"),
        (
            "<!-- vlm-inspect:begin one -->\n<!-- vlm-inspect:begin two -->\n<!-- vlm-inspect:end two -->\n",
            "line 1: block 'one' begins here and has no end",
            "above line 2",
        ),
        (
            block("one", block("two")),
            "line 2: block 'two' begins inside block 'one' (lines 1 to 4)",
            "Move <!-- vlm-inspect:end one --> above line 2",
        ),
        (
            (
                "<!-- vlm-inspect:begin one -->\n<!-- vlm-inspect:begin two -->\n"
                "<!-- vlm-inspect:end one -->\n<!-- vlm-inspect:end two -->\n"
            ),
            "line 2: block 'two' begins inside block 'one' (lines 1 to 3)",
            "above line 2",
        ),
        (
            "<!-- vlm-inspect:begin one -->\n<!-- vlm-inspect:end two -->\n",
            "line 2: this ends block 'two', but the open block is 'one', which begins on line 1",
            "<!-- vlm-inspect:end one --> on line 2",
        ),
    ],
)
def test_unpaired_markers_are_an_error_with_line_and_hint(text, message, hint):
    error = refused(text)
    assert error.message.startswith("README.md, ")
    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    "line",
    [
        "text <!-- vlm-inspect:begin one -->",
        "<!-- vlm-inspect:begin one --> text",
        "<!-- vlm-inspect:begin one --><!-- vlm-inspect:end one -->",
        "> <!-- vlm-inspect:begin one -->",
        "- <!-- vlm-inspect:begin one -->",
        "`code` <!-- vlm-inspect:begin one --> `code`",
        "`` <!-- vlm-inspect:begin one --> ` ```",
        "<!-- vlm-inspect:begin -->",
        "<!-- vlm-inspect:begin one two -->",
        "<!-- vlm-inspect:begin a/b -->",
        "<!-- vlm-inspect:begin -a -->",
        "<!-- vlm-inspect:start one -->",
        "<!-- VLM-Inspect:Begin one -->",
        "<!-- vlm-inspect:begin one",
    ],
)
def test_a_misspelt_marker_is_an_error_with_its_line(line):
    error = refused(block("two") + line + "\n")
    assert error.message.startswith("README.md, line 3: ")
    assert "line of its own" in error.hint


# --- invariants

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,8}", fullmatch=True)
NEWLINES = st.sampled_from(["\n", "\r\n", "\r"])
# Whole lines that hold no marker and open no fence: what may stand around a block.
PLAIN = st.text(st.characters(exclude_characters="\r\n`~", exclude_categories=["Cs"]), max_size=20)
PLAIN_LINES = st.lists(st.tuples(PLAIN, NEWLINES).map("".join), max_size=5).map("".join)
CONTENTS = st.lists(PLAIN.map(lambda line: f"{line}."), max_size=5)


@st.composite
def documents(draw):
    """Text with blocks whose insides are as splice writes them: (text, what each block holds)."""
    insides = draw(st.dictionaries(NAMES, CONTENTS, min_size=1, max_size=4))
    text = draw(PLAIN_LINES)
    for name, lines in insides.items():
        newline = draw(NEWLINES)
        text += block(name, "".join(line + newline for line in lines), newline) + draw(PLAIN_LINES)
    return text, {name: "\n".join(lines) for name, lines in insides.items()}


@given(documents())
def test_replacing_blocks_by_their_content_changes_nothing(document):
    text, insides = document
    assert replace_blocks(text, insides, name="f") == text


@given(documents(), CONTENTS, NEWLINES)
def test_replacing_blocks_twice_is_replacing_them_once(document, lines, newline):
    text, insides = document
    blocks = dict.fromkeys(insides, newline.join(lines))
    once = replace_blocks(text, blocks, name="f")
    assert replace_blocks(once, blocks, name="f") == once
    assert block_names(once) == block_names(text) == tuple(insides)


@given(st.text("<!-> vlm-inspect:begnd`~\r\n\tA\ufeff", max_size=80) | st.text())
def test_any_text_has_blocks_or_an_error_with_its_name(text):
    try:
        names = block_names(text, name="README.md")
    except DocumentError as error:
        assert str(error).startswith("README.md, line ")  # noqa: PT017 - most texts are read
    else:
        assert len(names) == len(set(names))


# --- files


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_bytes(TWO_BLOCKS.encode())
    return path


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbfa\r\nb\rc\n\n", b"\xff\x80 \xc3\x28\x00", b"no end", b"a \t \n"])
def test_reading_and_writing_preserves_every_byte(tmp_path, data):
    path = tmp_path / "a"
    path.write_bytes(data)
    before = read_document(path)
    assert before.write(before.text + "!") is True
    assert path.read_bytes() == data + b"!"
    assert read_document(path).write(before.text) is True
    assert path.read_bytes() == data


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_utf16_file_is_an_error(tmp_path, encoding):
    path = tmp_path / "README.md"
    path.write_bytes(TWO_BLOCKS.encode(encoding))
    with pytest.raises(DocumentError, match="is a UTF-16 or UTF-32 file"):
        read_document(path)


def test_a_missing_file_or_a_folder_is_an_error(tmp_path):
    with pytest.raises(DocumentError, match="could not be read: there is no such file"):
        read_document(tmp_path / "README.md")
    with pytest.raises(DocumentError, match="could not be read: it is a directory"):
        read_document(tmp_path)
    with pytest.raises(DocumentError, match="could not be read: "):
        read_document(tmp_path / "a\0b")


def test_a_new_file_is_written_with_the_usual_permissions(tmp_path):
    usual = tmp_path / "usual"
    usual.touch()
    assert write_file(tmp_path / "new", b"text") is True
    assert (tmp_path / "new").read_bytes() == b"text"
    assert (tmp_path / "new").stat().st_mode == usual.stat().st_mode
    assert entries(tmp_path) == ["new", "usual"]


def test_the_same_content_is_not_written_again(readme):
    os.utime(readme, ns=(1, 1))
    inode = readme.stat().st_ino
    assert write_file(readme, TWO_BLOCKS.encode()) is False
    assert (readme.stat().st_mtime_ns, readme.stat().st_ino) == (1, inode)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files have names on Linux alone")
def test_a_pipe_is_written_to_by_its_dev_fd_path():
    reader, writer = os.pipe()  # what /dev/stdout is in `vlm-inspect … | less`
    try:
        assert write_file(Path(f"/proc/self/fd/{writer}"), b"text") is True
        assert os.read(reader, 10) == b"text"
    finally:
        os.close(reader)
        os.close(writer)


def test_write_errors_have_the_reason(tmp_path, readme):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, reason in [
        (tmp_path, "it is a directory"),
        (tmp_path / "no" / "README.md", "there is no such file or directory"),
        (readme / "README.md", "Not a directory"),
        (tmp_path / ("n" * 256), "File name too long"),
        (loop, "Too many levels of symbolic links"),
        (tmp_path / "a\0b", "null"),
    ]:
        with pytest.raises(DocumentError, match=f"could not be written: .*{reason}"):
            write_file(path, b"text")
    assert entries(tmp_path) == ["README.md", "loop"]


def test_a_write_protected_file_is_unchanged(readme, monkeypatch):
    # root may write anything, so the system's answer is given here
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DocumentError, match="Permission denied") as caught:
        write_file(readme, b"new")
    assert "ls -ld" in caught.value.hint
    assert readme.read_bytes() == TWO_BLOCKS.encode()


FAULTS = [
    (OSError(errno.ENOSPC, "No space left on device"), DocumentError, "No space left"),
    (OSError(errno.EBUSY, "Device or resource busy"), DocumentError, "a mount point and cannot be replaced"),
    (OSError(errno.EROFS, "Read-only file system"), DocumentError, "Read-only"),
    (KeyboardInterrupt("^C"), KeyboardInterrupt, "\\^C"),
]


@pytest.mark.parametrize(("owner", "step"), [(Path, "replace"), (os, "fsync"), (Path, "open")])
@pytest.mark.parametrize(("fault", "kind", "message"), FAULTS, ids=[message for *_, message in FAULTS])
def test_after_a_failed_write_only_the_old_file_exists(readme, monkeypatch, owner, step, fault, kind, message):
    def fail(*_args, **_options):
        raise fault

    with monkeypatch.context() as broken:
        broken.setattr(owner, step, fail)
        with pytest.raises(kind, match=message):
            write_file(readme, b"new")
    assert readme.read_bytes() == TWO_BLOCKS.encode()
    assert entries(readme.parent) == ["README.md"]


def test_a_private_file_is_private_from_its_first_byte(tmp_path, monkeypatch):
    path = tmp_path / "private"
    path.touch(0o600)
    seen = []

    def look(_descriptor):
        (new,) = tmp_path.glob(".vlm-inspect-*")
        seen.append(stat.S_IMODE(new.stat().st_mode))

    monkeypatch.setattr(os, "fsync", look)
    write_file(path, b"secret")
    assert seen == [0o600]


def test_an_update_that_changes_nothing_writes_nothing(readme):
    before = readme.stat()
    assert update_document(readme, lambda document: document.text) is False
    assert readme.stat().st_mtime_ns == before.st_mtime_ns


def test_a_change_that_raises_leaves_the_file_and_releases_the_lock(readme):
    with pytest.raises(DocumentError, match=r"README\.md, line 3: unknown marker 'one'"):
        update_document(readme, lambda document: document.updated({"two": ""}))
    assert update_document(readme, lambda document: document.updated({"one": "new", "two": ""})) is True
    assert "new\n" in read_document(readme).text


def test_without_a_lock_a_document_is_updated_too(readme, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/nowhere/at/all")
    assert update_document(readme, lambda document: document.text + "more") is True
