"""Makes the policies that come with the package: a small file with what acting needs, and a card of what it can do.

Example::

    python -m sapg_isaaclab.runs.shipping logs/allegro_reorient/RUN --evaluations evaluations/*.json \
        --hardware "one core of a server" --notes notes.md
"""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import write_atomically

KEPT = (
    "task",
    "algorithm",
    "agent_cfg",
    "num_envs",
    "seed",
    "overrides",
    "iteration",
    "env_steps",
    "wall_time_s",
    "blocks",
    "versions",
)
"""Entries of a checkpoint that its small form keeps, beside the policy."""


def policy_only(saved: dict[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A checkpoint without what only training needs: optimiser, random numbers, episodes, environment.

    Overrides of the environment are dropped, too: whatever made training easier, what comes with the package is played
    and measured on the task itself.

    Args:
        saved: What :func:`sapg_isaaclab.runs.checkpoint.load` returned.
        runs: What :func:`history` returned; kept for the history of runs that start from the file.

    Returns:
        Networks, latents, standard deviations, moments, block table and options, for
        :func:`sapg_isaaclab.runs.checkpoint.save`.
    """
    overrides = [token for token in saved["overrides"] if not token.startswith("env.")]
    policies = {"policies": saved["agent"]["policies"]}
    return {**{name: saved[name] for name in KEPT}, "overrides": overrides, "history": runs, "agent": policies}


def history(path: pathlib.Path) -> list[dict[str, Any]]:
    """The runs that made a policy: the first from scratch, each later one from the policy of the one before.

    Args:
        path: The last checkpoint.

    Returns:
        ``command``, ``commit``, ``env_steps`` and ``wall_time_s`` of each, in order of time.

    Raises:
        InputError: If a checkpoint on the way is missing.
    """
    saved, run = checkpoint.load(path), checkpoint.run_of(path)
    if "history" in saved:
        return saved["history"]  # the file comes with the package
    manifest = (run.manifest() if run else None) or {}
    this = {
        "command": manifest.get("command", "unknown"),
        "commit": (manifest.get("git") or {}).get("commit", "unknown"),
        "env_steps": saved["env_steps"],
        "wall_time_s": saved["wall_time_s"],
    }
    earlier = saved.get("init_from")
    return [*(history(pathlib.Path(earlier)) if earlier else []), this]


def card(
    saved: dict[str, Any], runs: list[dict[str, Any]], evaluations: list[dict[str, Any]], hardware: str, notes: str
) -> str:
    """What to know of a policy.

    Args:
        saved: Its checkpoint.
        runs: What :func:`history` returned.
        evaluations: Results of ``scripts/evaluate.py``, in the order in which they are shown.
        hardware: What it was trained on.
        notes: Further text, in Markdown.

    Returns:
        A page in Markdown.
    """
    steps, hours = sum(run["env_steps"] for run in runs), sum(run["wall_time_s"] for run in runs) / 3600.0
    versions = ", ".join(f"{name} {version}" for name, version in saved["versions"].items())
    lines = [
        f"# {saved['task']}",
        "",
        f"{saved['algorithm']}, {saved['blocks']['num_blocks']} policies, {saved['num_envs']} environments,"
        f" {steps / 1e6:.2f} million env-steps in {hours:.1f} hours of wall time on {hardware}.",
        "",
        "Trained by, in order (each with `--init_from` the one before):" if len(runs) > 1 else "Trained by:",
        "",
    ]
    lines += [
        f"- `{_shown(run['command'])}`, commit {run['commit'][:12]}, {run['env_steps'] / 1e6:.2f} million env-steps"
        for run in runs
    ]
    lines += ["", f"Versions: {versions}.", ""]
    if evaluations:
        lines += [
            "| policy | actions | options | episodes | successes | dropped | length | return |",
            "|---|---|---|---|---|---|---|---|",
            *(_row(result) for result in evaluations),
            "",
            "Means and standard errors over episodes; dropped is the share of episodes that ended before their time.",
            "",
            "",
        ]
    return "\n".join(lines) + notes


def _shown(command: str) -> str:
    """A command without the folders of one machine."""
    words = (pathlib.PurePath(word).name if word.startswith("/") else word for word in command.split())
    return " ".join(words)


def _row(result: dict[str, Any]) -> str:
    def figure(name: str, digits: int) -> str:
        value = result[name]
        return f"{value['mean']:.{digits}f} ± {value['standard_error']:.{digits}f}"

    options = " ".join(f"`{token}`" for token in result.get("overrides", [])) or "the task's own"
    figures = figure("successes", 3), figure("terminated", 2), figure("length", 0), figure("return", 1)
    name = result["policy"] if result["checkpoint"] or result["iteration"] else f"untrained {result['policy']}"
    cells = result.get("label", name), result["actions"], options, str(result["num_episodes"]), *figures
    return f"| {' | '.join(cells)} |"


def main(argv: list[str] | None = None) -> None:
    """Write ``pretrained/<experiment>.pt`` and its card.

    Args:
        argv: Arguments without the program's name. Those of the process by default.
    """
    parser = argparse.ArgumentParser(description="Make a policy of a run one that comes with the package.")
    parser.add_argument("checkpoint", help="run folder or checkpoint")
    parser.add_argument(
        "--evaluations", nargs="*", default=[], metavar="FILE", help="JSON files of scripts/evaluate.py"
    )
    parser.add_argument("--hardware", default="a CPU", help="what it was trained on, for the card")
    parser.add_argument("--notes", metavar="FILE", help="Markdown that ends the card")
    args = parser.parse_args(argv)
    path = checkpoint.resolve(args.checkpoint, "logs")
    saved = checkpoint.load(path)
    evaluations = [json.loads(pathlib.Path(file).read_text(encoding="utf-8")) for file in args.evaluations]
    notes = pathlib.Path(args.notes).read_text(encoding="utf-8") if args.notes else ""
    target = checkpoint.PRETRAINED / f"{saved['agent_cfg']['experiment']['directory']}.pt"
    runs = history(path)
    text = card(saved, runs, evaluations, args.hardware, notes)
    target.parent.mkdir(exist_ok=True)
    checkpoint.save(target, policy_only(saved, runs))
    write_atomically(target.with_suffix(".md"), text)
    print(f"{target} ({target.stat().st_size / 1e6:.2f} MB) and its card")


if __name__ == "__main__":
    main()
