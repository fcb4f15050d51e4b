import dataclasses
import json
import subprocess

import pytest
import yaml
from test_docs_commands import parse  # noqa: F401  # a fixture

from sapg_isaaclab.agents.pql import PqlCfg
from sapg_isaaclab.agents.sapg.presets import ABLATIONS
from sapg_isaaclab.commands import reproduce
from sapg_isaaclab.commands.agent_options import agent_options
from sapg_isaaclab.errors import InputError
from sapg_isaaclab.experiments import point_runs, suites
from sapg_isaaclab.experiments.study_envs import ENVS
from sapg_isaaclab.experiments.trials import expand_seeds
from sapg_isaaclab.runs.run_folder import RunFolder


def test_table1_at_the_papers_scale_by_hand():
    trials = suites.plan("table1", "paper")
    assert len(trials) == 5 * 5 * 5
    first = trials[suites.Place("SAPG-Allegro-Reorient", "ppo", 24_576, 1)]
    # 2e10 / (24,576 * 8) = 101,725.26
    assert (first.iterations, first.options, first.algorithm) == (101_725, (), "ppo")
    assert trials[suites.Place("SAPG-AllegroKuka-Throw", "sapg_entropy_005", 24_576, 5)].iterations == 50_863
    assert trials[suites.Place("SAPG-AllegroKuka-Throw", "pql", 24_576, 5)].iterations == 101_725
    assert list(trials)[:2] == [
        suites.Place("SAPG-Allegro-Reorient", "ppo", 24_576, 1),
        suites.Place("SAPG-Allegro-Reorient", "dexpbt", 24_576, 1),
    ]


def test_figures_share_the_runs_they_have_in_common():
    table, figure = (set(suites.plan(name, "paper").values()) for name in ("table1", "figure5"))
    assert table == figure
    assert len(set(suites.plan("figure6", "paper").values()) & table) == 2 * 5 * 5


def test_figure2_runs_its_reference_at_the_largest_size_only():
    sizes = {line: set() for line in ("ppo", "sapg")}
    for place in suites.plan("figure2", "laptop", tasks=["two_hills"], seeds=[1]):
        sizes[place.line].add(place.num_envs)
    assert sizes == {"ppo": {96, 384, 1_536}, "sapg": {1_536}}


def test_equal_updates_and_equal_samples_by_hand():
    def updates(suite, **options):
        trials = suites.plan(suite, "study", seeds=[1], **options)
        return {(place.line, place.num_envs): trial.iterations for place, trial in trials.items()}

    sizes = (384, 1_536, 6_144, 24_576)
    assert updates("equal_updates") == {(line, size): 160 for size in sizes for line in ("ppo", "sapg")}
    # 160 updates of 1,536 environments: a quarter of them takes four times as many
    assert updates("equal_samples", lines=["ppo"]) == dict(zip([("ppo", size) for size in sizes], (640, 160, 40, 10)))
    chosen = [suites.plan(suite, "study", sizes=[1_536]) for suite in ("equal_samples", "equal_updates")]
    assert set(chosen[0].values()) == set(chosen[1].values())  # the same runs


def test_a_size_that_the_policies_cannot_share_is_left_out():
    places = suites.plan("equal_updates", "smoke", lines=["blocks_16", "blocks_64"], seeds=[1])
    assert {(place.line, place.num_envs) for place in places} == {("blocks_16", 48), ("blocks_16", 96)}


@pytest.mark.parametrize("name", [name for name in suites.LINES if name.startswith("sapg_")])
def test_ablations_are_those_of_the_presets(name):
    given = dict(option.removeprefix("agent.").split("=") for option in suites.LINES[name].options)
    assert {key: yaml.safe_load(value) for key, value in given.items()} == ABLATIONS[name.removeprefix("sapg_")]


@pytest.mark.parametrize("scale", suites.SCALES)
@pytest.mark.parametrize("suite", suites.SUITES)
def test_every_run_on_a_point_environment_is_a_valid_setting(suite, scale):
    for trial in set(suites.plan(suite, scale, tasks=["key_door"], seeds=[1], lines=list(suites.LINES)).values()):
        setting = point_runs.Setting("key_door", trial.algorithm, trial.num_envs, 1, trial.iterations, trial.options)
        cfg = setting.agent_cfg()
        assert cfg.rollouts == trial.rollouts


@pytest.mark.parametrize("task", [task for task in suites.TASKS if task not in suites.POINT_TASKS])
def test_steps_of_an_iteration_are_those_of_the_tasks_agents(task):
    options = agent_options(task)
    for kind in ("sapg", "dexpbt"):
        assert options[kind]["default"]["rollouts"] == suites.TASKS[task].rollouts
    assert not any("rollouts" in each for each in options["pql"].values())
    assert PqlCfg().rollouts == suites.Task.rollouts


def test_point_tasks_are_the_point_environments():
    assert set(suites.POINT_TASKS) == set(ENVS)


def test_seeds_as_they_are_typed():
    assert expand_seeds(["1..3", "7"]) == [1, 2, 3, 7]
    for text in ("3..1", "1..", "a", "-1"):
        with pytest.raises(InputError, match=r"use numbers or a range"):
            expand_seeds([text])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table7"], "invalid choice: 'table7'"),
        (["table1", "--tasks", "Cartpole"], "--tasks Cartpole is unknown to suites"),
        (["table1", "--algorithms", "sac"], "--algorithms sac is unknown to suites"),
        (["table1", "--seeds", "5..1"], "--seeds 5..1 is not allowed"),
        (["table1", "--jobs", "0"], "argument --jobs: 0 is not allowed"),
        (["table1", "--also", "/none"], "--also /none does not exist"),
        (["table1", "--rate", "0"], "--rate 0 is not allowed"),
        (["table1", "--where", "slurm", "--tasks", "two_hills"], "use --where local"),
        (["table1", "--ranks", "4"], "--ranks 4 cannot share the 6 learners of dexpbt; use 2, 3 or 6"),
        (["figure2", "--ranks", "5"], "--ranks 5 cannot share the 48 environments of a run"),
        (["table1", "--ranks", "2", "--tasks", "two_hills"], "two_hills needs no simulator and trains in one process"),
        (
            ["table1", "--num_envs", "384"],
            "--num_envs is not for table1; it is for figure2, equal_samples, equal_updates",
        ),
        (["equal_updates", "--num_envs", "100"], "--num_envs 100 does not suit sapg; use multiples of 6"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert reproduce.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())


def test_dry_run_says_what_it_would_cost_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert reproduce.main(["table1", "--scale", "paper", "--dry_run"]) == 0
    out = capsys.readouterr().out
    # 125 runs of 54 hours, as the paper says
    assert "125 runs" in out and out.splitlines()[-2].split() == ["all", "125", "0", "0", "2.5e+12", "6,750", "?"]
    assert not list(tmp_path.iterdir())


def test_an_array_job_is_written_and_printed_where_there_is_no_slurm(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    arguments = ["figure6", "--tasks", "SAPG-Allegro-Reorient", "--algorithms", "sapg_symmetric", "--seeds", "1..2"]
    assert reproduce.main([*arguments, "--scale", "paper", "--where", "slurm"]) == 0
    out = capsys.readouterr().out
    file = tmp_path / "logs" / "reproduce" / "figure6_paper" / "array.txt"
    assert "sbatch --parsable --array=1-2 scripts/cluster/train.sbatch @logs/reproduce/figure6_paper/array.txt" in out
    assert file.read_text().splitlines()[1] == (
        "SAPG-Allegro-Reorient --algorithm sapg --num_envs 24576 --seed 2 --run_name sapg_seed2"
        " --dump_states 2048"
        " agent.aggregation=symmetric --max_iterations 101725 --device cuda:0"
    )


def test_an_array_of_several_ranks_asks_for_as_many_gpus(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    arguments = ["table1", "--tasks", "SAPG-Allegro-Reorient", "--algorithms", "dexpbt", "pql", "--seeds", "1"]
    assert reproduce.main([*arguments, "--scale", "paper", "--ranks", "2", "--where", "slurm"]) == 0
    assert "--array=1-2 --gpus-per-node=2 scripts/cluster/train.sbatch @" in capsys.readouterr().out
    lines = (tmp_path / "logs" / "reproduce" / "table1_paper" / "array.txt").read_text().splitlines()
    for name, line in zip(("dexpbt", "pql"), lines, strict=True):
        # the batch script adds --distributed where it starts several
        assert f"--algorithm {name} --num_envs 12288 " in line and line.endswith("--device cuda")


def test_an_array_is_submitted_once_while_it_is_queued(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "scripts" / "cluster").mkdir(parents=True)
    (tmp_path / "scripts" / "cluster" / "train.sbatch").touch()
    for name, body in {"sbatch": 'echo "$@" >>calls; echo "77;cluster"', "squeue": "echo 77_1 queued"}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    arguments = ["table1", "--where", "slurm", "--seeds", "1"]
    assert reproduce.main(arguments) == 0
    assert "submitted 25 runs as array job 77" in capsys.readouterr().out
    assert reproduce.main(arguments) == 2
    assert "array job 77 of this suite is still queued" in capsys.readouterr().err
    assert (tmp_path / "calls").read_text().count("--array=1-25") == 1


def test_lines_of_an_array_become_the_arguments_of_its_tasks(tmp_path):
    script = suites.__file__.partition("/source/")[0] + "/scripts/cluster/train.sbatch"
    (tmp_path / "array.txt").write_text("A --seed 1\nB --seed '2 3'\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text('#!/bin/sh\nprintf "%s\\n" "$@" >words\n')
    (tmp_path / "bin" / "srun").chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "9",
                   "SLURM_JOB_NUM_NODES": "1", "SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "2"}  # fmt: skip
    subprocess.run(["bash", script, "@array.txt"], env=environment, check=True, timeout=60)
    words = (tmp_path / "words").read_text().splitlines()
    assert words[words.index("--task") :] == ["--task", "B", "--seed", "2 3", "--log_root", "logs/sapg/job_8_2"]


@pytest.mark.parametrize("scale", suites.SCALES)
@pytest.mark.parametrize("task", ["SAPG-AllegroKuka-Throw", "two_hills"])
def test_commands_of_a_trial_are_understood(task, scale, tmp_path, parse):  # noqa: F811
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    for trial in set(suites.plan("figure5", scale, tasks=[task], seeds=[1], lines=list(suites.LINES)).values()):
        (run.checkpoints / f"agent_{trial.iterations}.pt").touch()
        for words in (
            trial.train(tmp_path, None, "cpu"),
            trial.train(tmp_path, run, "cpu"),
            trial.evaluate(run, 7, "cpu"),
        ):
            assert parse(words[0], words[1:]) is None, words


def test_a_trial_is_a_plain_value():
    trial = next(iter(suites.plan("table1", "smoke").values()))
    assert json.loads(json.dumps(dataclasses.asdict(trial)))["task"] == trial.task
    assert str(trial) == "SAPG-Allegro-Reorient ppo, presets=small, 96 environments, seed 1"
