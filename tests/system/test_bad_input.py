"""Every wrong call is answered by one line on standard error and a non-zero exit code, and leaves nothing on disk."""

import os
import subprocess
import sys

import pytest
import torch
from typed_commands import REPOSITORY, load_command

from sapg_isaaclab.runs import checkpoint
from sapg_isaaclab.runs.run_folder import RunFolder

TASK = ["--task", "SAPG-Allegro-Reorient"]


@pytest.fixture
def logs(tmp_path):
    """A log folder with one run of 6 policies, and checkpoints that are none."""
    run = RunFolder.create(tmp_path / "logs", "allegro_reorient", {"task": TASK[1]}, {"env": "", "agent": ""})
    state = {
        "iteration": 7,
        "env_steps": 672,
        "task": TASK[1],
        "algorithm": "sapg",
        "num_envs": 12,
        "seed": 42,
        "overrides": ["agent.rollouts=4"],
        "trainer": {"max_iterations": 10},
        "blocks": {"num_blocks": 6, "leader": 0},
        "agent": {},
        "agent_cfg": {"num_blocks": 6, "rollouts": 4, "experiment": {"directory": "allegro_reorient"}},
        "init_from": None,
        "params": {},
    }
    path = run.checkpoints / "agent_7.pt"
    checkpoint.save(path, state)
    (tmp_path / "cut.pt").write_bytes(path.read_bytes()[:500])
    torch.save({"format": 1, "agent": os.getcwd}, tmp_path / "code.pt")
    (tmp_path / "file").touch()
    (tmp_path / "alone.pt").write_bytes(path.read_bytes())
    checkpoint.save(tmp_path / "mine.pt", {**state, "algorithm": "mine"})
    return tmp_path


def everything(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def refuse(name, argv, logs, capsys, parts):
    before = everything(logs)
    code = load_command(name).main([text.replace("LOGS", str(logs)) for text in argv])
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert code not in (0, None)
    assert len(lines) == 1 and "Traceback" not in error, error
    for part in parts:
        assert part.replace("LOGS", str(logs)) in lines[0]
    assert everything(logs) == before


LOG = ["--log_root", "LOGS/logs"]
TRAIN = [
    # what is typed, what the answer must name
    ([], ["--task is missing", "SAPG-Allegro-Reorient"]),
    (["--task", "SAPG-Alegro-Reorient"], ["unknown", "did you mean SAPG-Allegro-Reorient"]),
    (["--task", "CartPole-v1"], ["not a task of Isaac Lab", "SAPG-Allegro-Reorient"]),
    (["--task", "nopackage:SAPG-Allegro-Reorient"], ["package 'nopackage' cannot be imported"]),
    ([*TASK, "--num_env", "12"], ["unknown option --num_env", "--num_envs"]),
    ([*TASK, "--video", "--viz", "newton_gl"], ["--video draws off screen", "drop --viz", "--no_video"]),
    ([*TASK, "--video_length", "100"], ["--video_length", "add --video"]),
    ([*TASK, "--video", "--video_interval", "100"], ["--video_interval 100", "use 200 or more"]),
    ([*TASK, "--video", "--video_length", "0"], ["--video_length 0", "at least 1"]),
    ([*TASK, "--video", "--video_blocks", "0,6"], ["--video_blocks 6 does not exist", "5 (follower 5)"]),
    ([*TASK, "--video", "--video_blocks", "leader"], ["--video_blocks", "'leader'", "such as 0,3"]),
    (["--task", "Isaac-Cartpole-Direct-v0"], ["unknown", "did you mean Isaac-Cartpole-Direct?"]),
    ([*TASK, "--agent.learning_rate=x"], ["agent.learning_rate=x", "a number"]),
    ([*TASK, "--agent.learning_rate", "1"], ["--agent.learning_rate needs a value", "type agent.learning_rate=VALUE"]),
    ([*TASK, "--physics", "ovphysx"], ["--physics needs a value", "physics=NAME"]),
    ([*TASK, "--run_name", "a/b"], ["--run_name 'a/b'", "one folder"]),
    ([*TASK, "--run_name", ""], ["--run_name has an empty value ''", "drop it"]),
    ([*TASK, "--device", " "], ["--device has an empty value ' '", "drop it"]),
    ([*TASK, "--wandb_tags", ","], ["--wandb_tags , names no tag", "NAME"]),
    ([*TASK, "--resume", "pretrained"], ["--resume goes on with a run", "--init_from pretrained"]),
    ([*TASK, "--num_envs", "12", "--log_root", "/proc/x"], ["cannot write", "/proc", "--log_root"]),
    ([*TASK, "--num_envs", "12", "env.sim.dt=0"], ["env.sim.dt is 0.0", "above 0"]),
    ([*TASK, "--num_envs", "12", "env.decimation=0"], ["env.decimation is 0", "above 0"]),
    ([*TASK, "--num_envs", "12", "env.episode_length_s=-1"], ["env.episode_length_s is -1.0", "above 0"]),
    ([*TASK, "--run_name", "a", "agent.experiment.experiment_name=b"], ["contradict"]),
    ([*TASK, *LOG, "--resume", "latest", "--run_name", "a"], ["--run_name a names a new run", "drop --run_name"]),
    ([*TASK, "agent.experiment.directory=../x"], ["agent.experiment.directory '../x'", "one folder"]),
    ([*TASK, "agent.experiment.checkpoint_interval=1"], ["use --checkpoint_interval"]),
    ([*TASK, "agent.experiment.write_interval=1"], ["every iteration is written"]),
    ([*TASK, "agent.experiment.store_separately=true"], ["a checkpoint is one file"]),
    ([*TASK, "agent.experiment.wandb=maybe"], ["true or false"]),
    ([*TASK, "agent.experiment.wandb_kwargs.projekt=x"], ["one of project, entity, group, tags"]),
    ([*TASK, "agent.experiment.naem=x"], ["no option agent.experiment.naem"]),
    ([*TASK, "--logger", "tensorboard", "--wandb_group", "g"], ["need --logger wandb"]),
    ([*TASK, "--num_envs", "many"], ["--num_envs", "invalid int value: 'many'"]),
    ([*TASK, "num_envs=12"], ["'num_envs=12' is not understood", "env.NAME=VALUE"]),
    ([*TASK, "env.scene.num_env=12"], ["no option env.scene.num_env", "env.scene.num_envs"]),
    ([*TASK, "env.num_envs=12"], ["no option env.num_envs", "env.scene.num_envs"]),
    ([*TASK, "agent.num_block=3"], ["no option agent.num_block", "agent.num_blocks"]),
    ([*TASK, "agent.learning_rate=fast"], ["agent.learning_rate=fast", "a number"]),
    ([*TASK, "agent.subsample=rows"], ["one of block, "]),
    ([*TASK, "env.sim.dt=x"], ["env.sim.dt=x", "a number"]),
    ([*TASK, "physics=bullet"], ["physics=bullet is unknown", "ovphysx", "newton_mjwarp"]),
    ([*TASK, "presets=papers"], ["presets=papers is unknown", "did you mean paper?"]),
    ([*TASK, "physics=isaacsim_physx"], ["Isaac Sim", "not installed", "physics=ovphysx"]),
    ([*TASK, "--num_envs", "100"], ["100", "96", "102"]),
    ([*TASK, "--num_envs", "0"], ["at least 1"]),
    ([*TASK, "--num_envs", "12", "agent.num_blocks=0"], ["num_blocks is 0", "at least 1"]),
    ([*TASK, "--num_envs", "12", "env.scene.num_envs=24"], ["contradict", "--num_envs 12"]),
    ([*TASK, "--device", "cpu", "env.sim.device=cuda:0"], ["contradict", "--device cpu"]),
    ([*TASK, "--seed", "1", "agent.seed=2"], ["contradict", "--seed 1"]),
    ([*TASK, "env.seed=3"], ["use --seed"]),
    ([*TASK, "agent.rollouts=4", "agent.rollouts=8"], ["agent.rollouts is given more than once"]),
    ([*TASK, "--algorithm", "ppo", "agent.num_blocks=6"], ["--algorithm ppo", "agent.num_blocks=6"]),
    ([*TASK, "--algorithm", "dqn"], ["--algorithm", "sapg", "ppo", "dexpbt", "pql"]),
    ([*TASK, "--algorithm", "pql", "agent.num_blocks=6"], ["no option agent.num_blocks"]),
    ([*TASK, "--algorithm", "pql", "agent.critic=triple"], ["agent.critic=triple", "one of double, distributional"]),
    ([*TASK, "--algorithm", "dexpbt", "--num_envs", "100"], ["100", "96", "102"]),
    ([*TASK, "--algorithm", "dexpbt", "presets=symmetric"], ["presets=symmetric is unknown", "small"]),
    ([*TASK, "--headless", "--viz", "newton_gl"], ["--headless", "--viz newton_gl", "contradict"]),
    ([*TASK, "--max_iterations", "0"], ["--max_iterations 0", "at least 1"]),
    ([*TASK, "--seed", "-5"], ["--seed -5", "-1 for a random one"]),
    ([*TASK, "--device", "gpu"], ["--device gpu is unknown", "cpu"]),
    ([*TASK, "--device", "cuda:99"], ["cuda:99 does not exist", "cpu"]),
    ([*TASK, "--logger", "neptune"], ["--logger", "tensorboard", "wandb"]),
    ([*TASK, "--num_envs", "12", "--log_root", "LOGS/file"], ["cannot write", "LOGS/file", "--log_root"]),
    ([*TASK, "--distributed"], ["--distributed needs a process for every rank", "torchrun --standalone"]),
    ([*TASK, *LOG, "--resume", "latest", "--init_from", "best"], ["--resume", "--init_from", "drop one"]),
    (
        [*TASK, "--log_root", "LOGS/none", "--resume", "latest"],
        ["no run of SAPG-Allegro-Reorient with a checkpoint", "LOGS/none"],
    ),
    ([*LOG, "--resume", "LOGS/none.pt"], ["none.pt does not exist", "runs found", "allegro_reorient"]),
    ([*LOG, "--resume", "LOGS/cut.pt"], ["cut.pt is truncated or damaged"]),
    ([*LOG, "--resume", "LOGS/code.pt"], ["code.pt holds Python objects that could run code", "nothing was loaded"]),
    ([*LOG, "--resume", "LOGS/alone.pt"], ["lies in no run folder", "--init_from"]),
    ([*LOG, "--resume", "latest", "agent.num_blocks=3"], ["agent.num_blocks=3", "6 policies", "cannot change"]),
    ([*LOG, "--resume", "latest", "env.sim.dt=0.1"], ["env.sim.dt=0.1 differs", "the task's default"]),
    ([*LOG, "--resume", "latest", "--num_envs", "24"], ["--num_envs 24", "12"]),
    ([*LOG, "--resume", "latest", "--algorithm", "ppo"], ["--algorithm ppo", "sapg"]),
    (
        [*TASK, *LOG, "--num_envs", "12", "--init_from", "latest", "--algorithm", "dexpbt"],
        ["was trained by sapg", "--algorithm sapg"],
    ),
    (
        [*TASK, *LOG, "--num_envs", "12", "--init_from", "LOGS/mine.pt"],
        ["was trained by mine", "not among sapg, ppo", "--task module:ID"],
    ),
    (
        [*TASK, *LOG, "--num_envs", "12", "--init_from", "latest", "agent.num_blocks=3"],
        ["6 policies", "num_blocks is 3"],
    ),
]


@pytest.mark.parametrize(("argv", "parts"), TRAIN, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_train_answers_in_one_line(argv, parts, logs, capsys):
    refuse("train", argv if "--log_root" in argv else [*argv, *LOG], logs, capsys, parts)


PLAY = [
    ([*LOG, "--block", "6"], ["--block 6 does not exist", "0 (leader), 1 (follower 1)"]),
    ([*LOG, "--checkpoint", "none"], ["--task is missing"]),
    ([*LOG, "--checkpoint", "LOGS/cut.pt"], ["truncated or damaged"]),
    ([*LOG, "--checkpoint", "LOGS/code.pt"], ["could run code"]),
    ([*LOG, "agent.num_blocks=3"], ["agent.num_blocks=3", "come from the checkpoint"]),
    ([*LOG, "--num_envs", "0"], ["--num_envs 0", "at least 1"]),
    ([*LOG, "--actions", "random"], ["--actions", "deterministic", "stochastic"]),
]


@pytest.mark.parametrize("name", ["play", "evaluate"])
@pytest.mark.parametrize(("argv", "parts"), PLAY, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_play_and_evaluate_answer_in_one_line(name, argv, parts, logs, capsys):
    refuse(name, argv, logs, capsys, parts)


@pytest.mark.parametrize(
    ("name", "argv", "parts"),
    [
        ("play", ["--steps", "0"], ["--steps 0", "at least 1"]),
        ("play", ["--video", "LOGS/film.avi"], ["film.avi", ".mp4, .gif, .webp", "--frames"]),
        ("play", ["--viz", "newton_gl"], ["--viz shows the policy live", "add --no_video"]),
        ("play", [*TASK, "--checkpoint", "none", "--env_index", "4"], ["env_index=4", "give 0 to 3"]),
        ("play", ["--video", "LOGS/a.mp4", "--frames", "LOGS/b"], ["--video and --frames contradict"]),
        ("play", ["--frames", "LOGS/file"], ["exists and is not overwritten"]),
        ("play", ["--size", "big"], ["--size big", "640x480"]),
        ("evaluate", ["--episodes", "0"], ["--episodes 0", "at least 1"]),
        ("evaluate", ["--output", "LOGS/file"], ["exists and is not overwritten"]),
        ("evaluate", ["--output", "LOGS/none/x.json"], ["no folder"]),
    ],
)
def test_own_options_answer_in_one_line(name, argv, parts, logs, capsys):
    refuse(name, [*argv, *LOG], logs, capsys, parts)


@pytest.mark.slow
def test_the_process_ends_with_code_2_and_one_line():
    command = [sys.executable, "scripts/train.py", *TASK, "--num_envs", "100"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if "rror" in line]
    assert errors == ["error: num_envs is 100, which 6 blocks cannot share equally; use --num_envs 96 or 102"]
    assert "Traceback" not in result.stderr
