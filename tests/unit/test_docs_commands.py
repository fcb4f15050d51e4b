"""Every command in the documentation parses, by the command's own parser and without starting anything."""

import argparse
import importlib
import itertools
import pathlib
import re
import shlex

import pytest
from test_docs import FENCE, PAGES, ROOT

from sapg_isaaclab.commands import cli

NOT_OURS = {"pip", "git", ".", "pre-commit", "wandb", "isaaclab", "cd", "import", "env", "squeue"}
"""First words of lines in code blocks that are no commands of this project."""

PLACEHOLDERS = {
    "...": "SAPG-Allegro-Reorient",
    "ID": "SAPG-Allegro-Reorient",
    "Finger-Push": "SAPG-Allegro-Reorient",
    "my_finger:Finger-Push": "SAPG-Allegro-Reorient",
    "HEAD:29500": "a:1",
}
"""What stands in the documentation for something of the reader's."""

READERS = {"check_robot.py", "my_finger/make_usd.py"}
"""Scripts that docs/own_robot.md has its reader write; tests/system/test_own_robot.py runs them."""

OPTIONS = re.compile(r"(--\w|presets=|physics=|env\.|agent\.)")


class Parsed(BaseException):
    """The arguments were understood: stop here. No Exception, so that no command takes it for trouble."""


@pytest.fixture
def parse(monkeypatch):
    """Parse a command's arguments as the command does: None, or the exit code with which it refuses them."""

    def then_stop(function):
        def stopping(*args, **kwargs):
            function(*args, **kwargs)
            raise Parsed

        return stopping

    monkeypatch.setattr(cli, "parse", then_stop(cli.parse))
    monkeypatch.setattr(cli, "_VIEWERS", dict.fromkeys(cli._VIEWERS))  # as if all were installed
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", then_stop(argparse.ArgumentParser.parse_args))

    def parse(name, arguments):
        monkeypatch.setattr("sys.argv", [name, *arguments])
        try:
            code = importlib.import_module(f"sapg_isaaclab.commands.{name}").main()
        except Parsed:
            return None
        return code

    return parse


def lines(page: pathlib.Path) -> list[str]:
    """Lines of code blocks, and commands inside a sentence or a table."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = [
        line
        for block in FENCE.findall(text)
        if not block.startswith(("```python", "```toml", "```xml"))
        for line in block.split("\n")[1:-1]
    ]
    text = FENCE.sub("", text)
    blocks = [
        block for block in text.split("\n\n") if all(line.startswith("    ") for line in block.strip("\n").split("\n"))
    ]
    indented = [line.strip() for block in blocks for line in block.strip("\n").split("\n")]
    spans = (
        " ".join(span.split()) for span in re.findall(r"`([^`]+)`", re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE))
    )
    return (
        fenced
        + indented
        + [span for span in spans if re.search(r"(scripts/)?\w+\.py .|-m (pytest|sapg_isaaclab) .", span)]
    )


def alternatives(line: str) -> list[str]:
    """A line for each value of ``{1,2}`` or ``a | b``; ``{1..3}`` becomes ``1 2 3``, as the shell makes of it."""
    line = re.sub(r"\{(\d+)\.\.(\d+)}", lambda m: " ".join(map(str, range(int(m[1]), int(m[2]) + 1))), line)
    parts = re.split(r"(\{[^{}]*,[^{}]*}|\w+(?: \| \w+)+)", line)
    choices = [part.strip("{}").split(",") if part.startswith("{") else part.split(" | ") for part in parts]
    if sum(len(choice) > 1 for choice in choices) == 1 or len(choices) == 1:
        return ["".join(pieces) for pieces in itertools.product(*choices)]
    longest = max(len(choice) for choice in choices)  # several lists go together
    return ["".join(choice[index % len(choice)] for choice in choices) for index in range(longest)]


def command(line: str) -> tuple[str, list[str]] | None:
    """Name and arguments of a command of this project; None for another's.

    Raises:
        ValueError: If the line is neither.
    """
    # what is left to the reader is left out, but for the task
    line = re.sub(r" --(?!task)\w+ \.\.\.|(?<!--task) \.\.\.", "", line)
    line = line.replace("--checkpoint RUN", "--task SAPG-Allegro-Reorient --checkpoint best")
    words = shlex.split(line, comments=True)
    words = [PLACEHOLDERS.get(word, word) for word in words]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if not words or READERS & set(words):
        return None
    for place, word in enumerate(words):
        if script := re.fullmatch(r"(?:.*scripts/)?(\w+)\.py", word):
            return script[1], words[place + 1 :]
        if word == "sapg_isaaclab" and words[place - 1] == "-m":
            name, *others = words[place + 1].split("|")
            return (name, words[place + 2 :]) if not others else None  # train|play|...: a list of names, no command
        if word.endswith("train.sbatch") and words[0] == "sbatch":
            return "train", ["--task", *words[place + 1 :]]
        if word == "pytest" and words[place - 1] == "-m":
            return "pytest", words[place + 1 :]
    if words[0] in NOT_OURS or words[:2] == ["./isaaclab.sh", "-i"]:
        return None
    raise ValueError(f"not a command that is known here: {line}")


COMMANDS = list(dict.fromkeys(
    (str(page), each)
    for page in PAGES if page.name != "CHANGELOG.md" for line in lines(page) for each in alternatives(line)
    if not OPTIONS.match(line) and re.match(r"[\w./]", line)
))  # fmt: skip


def test_the_search_finds_commands():
    assert len(COMMANDS) > 40 and {"README.md", "docs/results.md", "docs/cluster.md"} <= {page for page, _ in COMMANDS}


def test_alternatives_by_hand():
    assert alternatives("a {1,2} --b") == ["a 1 --b", "a 2 --b"]
    assert alternatives("a 1{0,1} x{5,6}") == ["a 10 x5", "a 11 x6"]
    assert alternatives("a --seeds {1..3}") == ["a --seeds 1 2 3"]
    assert alternatives("--algorithm ppo | pql") == ["--algorithm ppo", "--algorithm pql"]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_command_parses(page, line, parse):
    found = command(line)
    if found is None:
        return
    name, arguments = found
    if name == "pytest":
        paths = [argument.partition("::")[0] for argument in arguments if argument.startswith("tests")]
        assert all((ROOT / path).exists() for path in paths), line
    else:
        assert parse(name, arguments) is None, line


def test_options_in_the_readme_parse(parse):
    options = [line for line in lines(pathlib.Path("README.md")) if OPTIONS.match(line)]
    assert len(options) >= 6
    for line in options:
        for each in alternatives(re.split(r" {2,}", line)[0].removesuffix(" | ...")):
            assert parse("train", ["--task", "SAPG-Allegro-Reorient", *shlex.split(each)]) is None, each


def test_a_wrong_option_would_be_found(parse):
    assert parse("train", ["--no_such_option"]) == 2
    assert parse("train", ["--task", "SAPG-Allegro-Reorient"]) is None
