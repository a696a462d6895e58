"""Runs the steps of a composite action as GitHub's runner does, as far as this project's action goes."""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import yaml

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
COMMAND = re.compile(r"::(?P<name>[a-z-]+)(?: (?P<properties>.*?))?::(?P<message>.*)")


@dataclass
class Outcome:
    """What a run of the action leaves behind."""

    failed: str = ""
    """The name of the step that failed."""
    log: str = ""
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    @property
    def annotations(self):
        """(level, properties, message) of each workflow command that a runner would obey, unescaped."""
        return list(_commands(self.log))


@dataclass
class Runner:
    """A machine with a checked-out project, and the contexts of a job."""

    workspace: Path
    path: list[Path]
    """Folders of programs, before those of the system."""
    github: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def run(self, action, inputs=None):
        """Every step in turn, up to the one that fails. A step that uses another action does nothing."""
        definition = yaml.safe_load(action.read_text(encoding="utf-8"))
        given = {name: each.get("default", "") for name, each in definition["inputs"].items()}
        context = {"inputs": given | (inputs or {}), "env": self.env, "github": self.github, "steps": {}}
        outcome = Outcome()
        with tempfile.TemporaryDirectory() as temporary:
            for step in definition["runs"]["steps"]:
                if not evaluate(step.get("if", "true"), context):
                    continue
                outcome.ran.append(step["name"])
                if "run" in step and not self._step(step, context, action, Path(temporary), outcome):
                    outcome.failed = step["name"]
                    break
            values = {name: interpolate(each["value"], context) for name, each in definition["outputs"].items()}
            # the report is read before the machine goes
            report = Path(values["report"]) if values["report"] else None
            outcome.outputs = values | ({"report": report.read_text(encoding="utf-8")} if report else {})
        return outcome

    def _step(self, step, context, action, temporary, outcome):
        script, output, summary = (temporary / name for name in ("script.sh", "output", "summary"))
        script.write_text(step["run"], encoding="utf-8")
        output.write_text("", encoding="utf-8")
        summary.touch()
        stated = {name: interpolate(value, context) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],  # noqa: S607 - what `shell: bash` means
            cwd=self.workspace / interpolate(step.get("working-directory", "."), context),
            env=self._environment(action, temporary, output, summary) | stated,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        outcome.log += done.stdout
        outcome.summary = summary.read_text(encoding="utf-8")
        lines = output.read_text(encoding="utf-8").splitlines()
        outputs = dict(line.split("=", 1) for line in lines)
        context["steps"][step.get("id", step["name"])] = {"outputs": outputs}
        return done.returncode == 0

    def _environment(self, action, temporary, output, summary):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
        programs = os.pathsep.join([*map(str, self.path), inherited["PATH"]])
        return (
            inherited
            | {
                "PATH": programs,
                "GITHUB_ACTION_PATH": str(action.parent),
                "GITHUB_JOB": "check",
                "GITHUB_OUTPUT": str(output),
                "GITHUB_REPOSITORY": "someone/project",
                "GITHUB_STEP_SUMMARY": str(summary),
                "GITHUB_WORKFLOW": "models",
                "GITHUB_WORKSPACE": str(self.workspace),
                "RUNNER_TEMP": str(temporary),
                "TMPDIR": str(temporary),
            }
            | self.env
        )


def interpolate(text, context):
    """A text with its expressions replaced by their values."""
    return EXPRESSION.sub(lambda match: _worth(match[1].strip(), context), str(text))


def evaluate(condition, context):
    """Whether a condition holds. It is an expression, with or without the braces."""
    bare = EXPRESSION.fullmatch(condition.strip())
    return _worth(bare[1].strip() if bare else condition.strip(), context) not in ("", "false")


def _worth(expression, context):
    """The operators that the action uses, the loosest first; all values are text."""
    if " || " in expression:
        left, right = expression.split(" || ", 1)
        return _worth(left, context) or _worth(right, context)
    if " && " in expression:
        left, right = expression.split(" && ", 1)
        return _worth(right, context) if evaluate(left, context) else ""
    for sign, equal in ((" == ", True), (" != ", False)):
        if sign in expression:
            left, right = (_worth(side, context) for side in expression.split(sign))
            return str((left == right) is equal).lower()
    if expression.startswith("'"):
        return expression.strip("'")
    return _looked_up(expression, context)


def _looked_up(expression, context):
    if expression in ("true", "false"):
        return expression
    first, *rest = expression.split(".")
    value = context[first]
    if first == "inputs":
        return value[rest[0]]  # an input that is not declared is a mistake, and a KeyError
    if first == "github":
        return value.get(".".join(rest), "")
    for name in rest:
        value = value.get(name, {})
    return value or ""


def _commands(log):
    resumed_by = None
    for line in log.splitlines():
        match = COMMAND.fullmatch(line.strip())
        if resumed_by is not None:
            resumed_by = None if line.strip() == f"::{resumed_by}::" else resumed_by
        elif match and match["name"] == "stop-commands":
            resumed_by = match["message"]
        elif match:
            pairs = [pair.split("=", 1) for pair in (match["properties"] or "").split(",") if pair]
            properties = {name: _unescaped(value) for name, value in pairs}
            yield match["name"], properties, _unescaped(match["message"])


def _unescaped(value):
    for escaped, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        value = value.replace(escaped, char)
    return value
