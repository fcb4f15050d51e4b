"""Every number that is logged has a definition in docs/metrics.md."""

import ast
import pathlib
import re

import pytest
import torch

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.dexpbt import DexPbtCfg
from sapg_isaaclab.agents.pql import PqlCfg
from sapg_isaaclab.agents.sapg import SapgCfg
from sapg_isaaclab.runs import metrics
from sapg_isaaclab.runs.run_folder import RunFolder
from sapg_isaaclab.training.trainer import Trainer, TrainerCfg
from toy_env import ToyEnv
from toy_population import PopulationEnv

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "source" / "sapg_isaaclab"
DEFINED = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), re.MULTILINE))
GROUPS = {tag.partition("/")[0].partition("{")[0] for tag in DEFINED if "/" in tag}
TAG = re.compile(rf"(?:{'|'.join(sorted(GROUPS))})(?:[\w{{}}]*)/[\w{{}}]+")
HOLE = re.compile(r"\{\w*\}")

SMALL = {"hidden_sizes": (8,), "rollouts": 4}
AGENTS = {
    "sapg": lambda: SapgCfg(num_blocks=3, latent_dim=4, **SMALL),
    "sapg, symmetric": lambda: SapgCfg(num_blocks=3, aggregation="symmetric", latent_dim=4, **SMALL),
    "cpo": lambda: SapgCfg(
        num_blocks=3, latent_dim=4, awac_scale=0.01, adversarial_scale=0.1, adversarial_hidden_sizes=(8,), **SMALL
    ),
    "sapg, many": lambda: SapgCfg(num_blocks=20, latent_dim=4, **SMALL),
    "epo": lambda: SapgCfg(num_blocks=4, latent_dim=4, evolution_interval=240, evolution_start=240, **SMALL),
    "ppo": lambda: SapgCfg(num_blocks=1, **SMALL),
    "dexpbt": lambda: DexPbtCfg(num_blocks=3, interval=240, start_after=0, initial_delay=0, mutation_rate=1.0, **SMALL),
    "dexpbt, many": lambda: DexPbtCfg(num_blocks=20, **SMALL),
    "pql": lambda: PqlCfg(batch_size=16, replay_size=1000, warmup_steps=4, **SMALL),
}


def pattern(tag: str) -> str:
    """A tag with holes, as a regular expression."""
    return "[^/]+".join(map(re.escape, HOLE.split(tag)))


def is_defined(tag: str) -> bool:
    return any(re.fullmatch(pattern(known), tag) for known in DEFINED)


def literal(node: ast.AST) -> str | None:
    """The text of a string or an f-string, with holes for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def written_in_source() -> dict[str, str]:
    """Tags that stand in the sources, with where they do."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        pieces = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            text = literal(node)
            if id(node) not in pieces and text is not None and TAG.fullmatch(text):
                found[text] = f"{path.relative_to(SOURCE)}:{node.lineno}"
    return found


@pytest.mark.parametrize("name", AGENTS)
def test_what_training_logs_is_defined(name, tmp_path):
    torch.manual_seed(0)
    env = (PopulationEnv if name == "dexpbt" else ToyEnv)(60, episode_length=4)
    cfg = AGENTS[name]()
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    run = RunFolder.create(tmp_path, "toy", {"task": "Toy"}, {"env": "{}\n", "agent": "{}\n"})
    Trainer(env, build_agent(env, cfg), run, TrainerCfg(max_iterations=4), {"task": "Toy"}).train()
    logged = {tag for row in metrics.read(run) for tag in row}
    assert {"Leader/return", "Perf/update_s"} <= logged and any(tag.startswith("Loss/") for tag in logged)
    missing = sorted(tag for tag in logged if not is_defined(tag))
    assert not missing, f"add to docs/metrics.md: {', '.join(missing)}"


def test_what_stands_in_the_sources_is_defined():
    found = written_in_source()
    assert {"Loss/policy", "Block_{}/std", "Metrics/lifted", "Reward/{}"} <= set(found)  # the search finds something
    missing = {
        tag: where
        for tag, where in found.items()
        # a hole may be filled with what the page names one by one, as in Leader/{} or OffPolicy/{}
        if not is_defined(tag) and not any(re.fullmatch(pattern(tag), known) for known in DEFINED)
    }
    assert not missing, f"add to docs/metrics.md: {missing}"


def test_the_page_names_files_that_exist():
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:agents|training|tasks)/[\w/]+\.py)`", page))
    assert files and all((SOURCE / file).is_file() for file in files)
