"""Blocks of a page that are made from data, so that no number in it is typed.

A block is what stands between two lines::

    <!-- made from data/table1_smoke.json -->
    <!-- end -->

The file is relative to the page. What is made of it depends on what it holds: a suite's ``data.json``, a study of
``scripts/study.py scaling``, learning curves, or, for a pattern with ``*``, evaluations.
"""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

from sapg_isaaclab.experiments import drawing
from sapg_isaaclab.experiments.tables import Table
from sapg_isaaclab.runs.statistics import mean_and_standard_error

_BLOCK = re.compile(r"(<!-- made from (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(page: pathlib.Path) -> str:
    """A page with all of its blocks made anew.

    Args:
        page: The page.

    Returns:
        Its text; the page is not written.

    Raises:
        OSError: If the page or the data of a block cannot be read.
        ValueError: If data are of no known kind.
    """

    def made(match: re.Match[str]) -> str:
        files = sorted(page.parent.glob(match[2]))
        if not files:
            raise FileNotFoundError(f"{page}: there is no {match[2]}")
        contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        return f"{match[1]}\n{_block(contents, match[2])}\n\n{match[3]}"

    return _BLOCK.sub(made, page.read_text(encoding="utf-8"))


def suites(page: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Data of the suites on a page.

    Args:
        page: The page.

    Returns:
        By the name of the suite's figure, without an ending: ``<suite>_<scale>``.

    Raises:
        OSError: If the page or the data of a block cannot be read.
    """
    found = {}
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        for file in page.parent.glob(match[2]):
            data = json.loads(file.read_text(encoding="utf-8"))
            if "suite" in data:
                found[file.stem] = data
    return found


def _block(contents: list[dict[str, Any]], pattern: str) -> str:
    first = contents[0]
    if "suite" in first:
        return _suite(first, pathlib.PurePath(pattern).stem)
    if "references" in first:
        return escapes(first).markdown()
    if "runs" in first and "leader" in first["runs"][0]:
        return ends(first).markdown()
    if "trained" in first:
        return _evaluations(contents).markdown()
    raise ValueError(f"{pattern} holds nothing that a block can be made of")


def _suite(data: dict[str, Any], name: str) -> str:
    seeds = sorted({run["seed"] for run in data["runs"]})
    command = (
        f"./isaaclab.sh -p scripts/reproduce.py {data['suite']} --scale {data['scale']}"
        f" --tasks {' '.join(data['tasks'])} --algorithms {' '.join(data['lines'])} --seeds {' '.join(map(str, seeds))}"
    )
    if data["kind"] == "sizes":
        command += f" --num_envs {' '.join(map(str, sorted({run['num_envs'] for run in data['runs']})))}"
    fresh = {run["evaluation"]["episodes"] for run in data["runs"] if run["evaluation"]}
    hours = sum(run["wall_time_s"] or 0.0 for run in data["runs"]) / 3600.0
    facts = Table(
        ("", ""),
        [
            ("command", f"`{command}`"),
            ("runs", f"{len(data['runs'])} of {data['planned']}, {hours:.2g} hours of training in all"),
            ("fresh episodes", ", ".join(map(str, sorted(fresh))) or drawing.NOTHING),
            (
                "version",
                f"commit {', '.join(commit[:7] for commit in data['commits'])}, torch {data['packages']['torch']}",
            ),
            ("data", f"`data/{name}.json`"),
        ],
    )
    shown = drawing.against(data) if data["kind"] == "sizes" else drawing.table(data)
    return f"![{data['title']}](images/{name}.png)\n\n{shown.markdown()}\n\n{facts.markdown()}"


def escapes(data: dict[str, Any]) -> Table:
    """A study as a table of how many runs have left the trap.

    Args:
        data: What ``scaling.collect`` returned.

    Returns:
        A row for each algorithm, a column for each number of environments: runs whose leader is at the goal in 99 % of
        its episodes, of all runs, and the return, mean and standard error.
    """
    sizes = sorted({run["num_envs"] for run in data["runs"]})
    rows = []
    for name in dict.fromkeys(run["algorithm"] for run in data["runs"]):
        cells = []
        for size in sizes:
            runs = [run for run in data["runs"] if (run["algorithm"], run["num_envs"]) == (name, size)]
            mean, error = mean_and_standard_error([run["return"] for run in runs])
            escaped = sum(run["successes"] >= 0.99 for run in runs)
            cells.append(f"{escaped} of {len(runs)}, {mean:.1f} ± {error:.1f}")
        rows.append((f"`{name}`", *cells))
    return Table(("environments", *(f"{size:,}" for size in sizes)), rows)


def ends(data: dict[str, Any]) -> Table:
    """Learning curves, as in ``tests/golden/learning.json``, at their end.

    Args:
        data: ``runs``, each with ``env``, ``algorithm`` and the return of every update, ``leader`` and ``followers``.

    Returns:
        A row for each environment and algorithm: seeds, and the return over the last tenth of the updates, mean and
        standard error over seeds.
    """
    rows = []
    for env, algorithm in sorted({(run["env"], run["algorithm"]) for run in data["runs"]}):
        runs = [run for run in data["runs"] if (run["env"], run["algorithm"]) == (env, algorithm)]
        cells = []
        for who in ("leader", "followers"):
            parts = [run[who][-(len(run[who]) // 10) :] for run in runs if who in run]
            values = [sum(part) / len(part) for part in ([v for v in part if v is not None] for part in parts) if part]
            mean, error = mean_and_standard_error(values) if values else (None, None)
            cells.append(f"{mean:.2f} ± {error:.2f}" if values else drawing.NOTHING)
        rows.append((f"`{env}`", f"`{algorithm}`", str(len(runs)), *cells))
    return Table(("environment", "algorithm", "seeds", "return, leader", "return, followers"), rows)


def _evaluations(contents: list[dict[str, Any]]) -> Table:
    rows = []
    for index, content in enumerate(contents, start=1):
        cells = []
        for kind in ("trained", "untrained"):
            figure = content[kind]["return"]
            cells += [
                f"{figure['mean']:.1f} ± {figure['standard_error']:.1f}",
                f"{content[kind]['length']['mean']:.0f}",
            ]
        gain = content["trained"]["return"]["mean"] - content["untrained"]["return"]["mean"]
        error = sum(content[kind]["return"]["standard_error"] ** 2 for kind in ("trained", "untrained")) ** 0.5
        rows.append((str(index), *cells, f"{gain / error:.1f}"))
    heads = ("seed", "return, trained", "length", "return, untrained", "length", "difference in standard errors")
    return Table(heads, rows)
