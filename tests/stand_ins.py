"""Programs that write down how they were called, and answer as they are told."""

import json
import sys

_PROGRAM = """#!{python} -IS
import json, os, sys
arguments = sys.argv[1:]
if {real!r} and arguments[:2] != ["-m", "pip"]:
    os.execv({real!r}, [{real!r}, *arguments])
call = {{"program": {name!r}, "arguments": arguments, "folder": os.getcwd()}}
call |= {{name: os.environ[name] for name in {kept!r} if name in os.environ}}
with open({calls!r}, "a", encoding="utf-8") as file:
    file.write(json.dumps(call) + "\\n")
for word, files, out, err, code in {answers!r}:
    if word in arguments:
        for option, text in files:
            with open(arguments[arguments.index(option) + 1], "a", encoding="utf-8") as file:
                file.write(text)
        sys.stdout.write(out)
        sys.stderr.write(err)
        sys.exit(code)
"""


class StandIns:
    """A folder of programs for the front of PATH."""

    def __init__(self, folder):
        self.folder = folder
        self._calls = folder / "calls.jsonl"
        folder.mkdir()

    def add(self, name, *answers):
        """A program that does nothing but what the first answer says whose word is among the arguments."""
        self._write(name, answers, real=None)

    def add_python(self):
        """A python whose pip installs nothing; whatever else it is asked, the real one answers."""
        self._write("python", (), real=sys.executable)

    def calls(self, program):
        """How a program was called, in order."""
        if not self._calls.exists():
            return []
        lines = self._calls.read_text(encoding="utf-8").splitlines()
        return [call for call in map(json.loads, lines) if call["program"] == program]

    def arguments(self, program):
        """The arguments of each call."""
        return [call["arguments"] for call in self.calls(program)]

    def _write(self, name, answers, real):
        text = _PROGRAM.format(
            python=sys.executable,
            name=name,
            real=real,
            calls=str(self._calls),
            kept=("HF_TOKEN", "GH_TOKEN"),
            answers=answers,
        )
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


def answer(word, *, files=(), out="", err="", code=0):
    """What a program does when `word` is among its arguments; `files`: which option names one, its text."""
    return word, tuple(files), out, err, code
