"""Any text of a record may come from a stranger: in no output format does it become markup."""

import copy
import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.examples import examples
from tests.render.output_faults import faults_of
from tests.render.records import RECORDS
from vlm_inspect.compare.compare import compare
from vlm_inspect.core.codec import architecture_from_data, to_data
from vlm_inspect.core.errors import InvalidConfigError
from vlm_inspect.core.module_tree import ModuleTree, NodePool
from vlm_inspect.core.snapshot import CheckResult, Snapshot
from vlm_inspect.render import FORMATS, render
from vlm_inspect.render.card import build_card, card_tables
from vlm_inspect.render.cells import Failure, Row
from vlm_inspect.render.check import report_annotations, report_data, report_markdown, report_text
from vlm_inspect.render.columns import KINDS
from vlm_inspect.render.diff import build_report, difference_tables
from vlm_inspect.render.diff_markdown import difference_markdown
from vlm_inspect.render.json import difference_json, difference_names, record_json, to_json
from vlm_inspect.render.markdown import code_block
from vlm_inspect.render.table import build_table
from vlm_inspect.render.terminal.card import card_text
from vlm_inspect.render.terminal.diff import difference_text
from vlm_inspect.render.terminal.tree import tree_terminal_text
from vlm_inspect.render.tree import tree_data, tree_text

ALPHABET = (
    "|\\`*_[]()<>&\"'=+-@$%#{}~^!:;,. \t\r\n\x00\x07\x1b\x7f\x85\x9b\xa0\xad\u200b\u200f\u202e\u2028"
    "\u2066\ufeff\uff1d\uff0b\U000e0041\ud7ff\ue000\U0001f999aZ0"
)
PIECES = (
    *("\x1b[31m", "\x1b]8;;", "](x)", "<script>", "</td>", "-->", "<!--", "```"),
    *("\\end{tabular}", "&#124;", "=1+", "::"),
)
WORDS = st.lists(st.sampled_from([*ALPHABET, *PIECES]), min_size=1, max_size=12).map("".join)
NAMES = sorted(RECORDS)


def text_paths(data, path=()):
    """The paths of all strings in a record."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        if isinstance(value, str):
            yield (*path, key)
        elif isinstance(value, (dict, list)):
            yield from text_paths(value, (*path, key))


def replaced(data, path, word):
    changed = copy.deepcopy(data)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = word
    return changed


@cache
def free_text(name):
    """The record as data, and the paths whose text is free."""
    data = to_data(RECORDS[name])
    return data, [path for path in text_paths(data) if is_record(replaced(data, path, "any word"))]


def is_record(data):
    try:
        architecture_from_data(data)
    except InvalidConfigError:
        return False
    return True


def hostile_record(name, words):
    """The record with hostile words at every free text path."""
    data, paths = free_text(name)
    for number, path in enumerate(paths):
        data = replaced(data, path, words[number % len(words)])
    return architecture_from_data(data)


def no_faults(text, form, *, folded=False):
    assert faults_of(text, form, folded=folded) == [], text[:2_000]


@pytest.mark.parametrize("name", NAMES)
def test_much_of_a_record_is_free_text(name):
    _, paths = free_text(name)
    assert len(paths) > 15
    assert {"class_name", "model_class", "id"} <= {path[-1] for path in paths}


@examples(1 / 32)
@given(words=st.lists(WORDS, min_size=1, max_size=4), name=st.sampled_from(NAMES))
def test_a_record_of_hostile_text_adds_no_markup_in_any_format(words, name):
    record = hostile_record(name, words)
    failed = Row(words[0], error=Failure("SourceError", words[0], words[-1]))
    card = build_card(record, name=words[0], explain=True)
    tables = [build_table(kind, [Row(record.model.id, record), failed]) for kind in KINDS]
    for form in FORMATS:
        for shown in (*tables, card_tables(card)):
            no_faults(render(shown, form, width=80, colour=True), form)
    no_faults(card_text(card, width=60, colour=True), "terminal")
    no_faults(record_json(record), "json")
    assert json.loads(record_json(record))["model"]["id"] == record.model.id


@examples(1 / 32)
@given(words=st.lists(WORDS, min_size=1, max_size=4), name=st.sampled_from(NAMES))
def test_a_difference_of_hostile_text_adds_no_markup_in_any_format(words, name):
    difference = compare(Snapshot(RECORDS[name]), Snapshot(hostile_record(name, words)))
    report = build_report(difference)
    for form in FORMATS:
        no_faults(render(difference_tables(report), form, width=80, colour=True), form)
    no_faults(difference_markdown(report), "markdown", folded=True)
    no_faults(difference_text(report, width=70, colour=True), "terminal")
    no_faults(difference_json(difference), "json")
    no_faults(difference_names(difference), "text")
    verdict = CheckResult(words[0], words[-1], "different", difference)
    check_report([verdict, CheckResult(words[0], "file.json", "failed", message=words[0], hint=words[-1])])


def check_report(verdicts):
    no_faults(report_text(verdicts), "terminal")
    no_faults(report_markdown(verdicts), "markdown")
    no_faults(to_json(report_data(verdicts)), "json")
    no_faults(report_annotations(verdicts, "snapshots"), "github")


@examples(1 / 8)
@given(words=st.lists(WORDS, min_size=3, max_size=5))
def test_a_tree_of_hostile_text_adds_no_markup_in_any_format(words):
    pool = NodePool()
    leaf = pool.node(words[0], detail=words[1], parameters=((words[2], (2, 3)),))
    tree = ModuleTree(pool.node(words[1], detail=words[-1], children=((words[2], leaf), ("0", leaf), ("1", leaf))))
    no_faults(tree_terminal_text(tree, width=60, colour=True), "terminal")
    no_faults(to_json(tree_data(tree)), "json")
    no_faults(code_block(tree_text(tree)), "text")
    (block,) = MarkdownIt("commonmark").parse(code_block(tree_text(tree)))
    assert (block.type, block.content) == ("fence", tree_text(tree))
