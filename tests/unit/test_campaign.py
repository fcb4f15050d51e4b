"""What is missing is started, what was stopped goes on, what is done is left alone; by a program that only pretends."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import stub_program
from sapg_isaaclab.experiments import campaign as campaigns
from sapg_isaaclab.experiments import cost, drawing, evidence
from sapg_isaaclab.experiments.campaign import Campaign
from sapg_isaaclab.experiments.suites import Place
from sapg_isaaclab.experiments.trials import Trial, newest_iteration
from sapg_isaaclab.runs.run_folder import RunFolder

TASK = "SAPG-Allegro-Reorient"
STUB = (sys.executable, stub_program.__file__)


def trial(seed=1, **changes):
    return Trial(**{"task": TASK, "algorithm": "ppo", "num_envs": 48, "seed": seed, "iterations": 5, "rollouts": 8,
                    "options": ("presets=small", "agent.gae_lambda=0.9")} | changes)  # fmt: skip


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """What the program was called with, so far."""
    file = tmp_path / "calls.txt"
    monkeypatch.setenv("STUB_CALLS", str(file))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return lambda: [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def campaign(folder, **options):
    return Campaign(folder / "logs", **{"episodes": 7, "program": STUB, "devices": ("cpu", "cpu")} | options)


def runs(folder):
    return [RunFolder(path.parent) for path in (folder / "logs").glob("*/*/run.json")]


def test_missing_trials_are_trained_and_evaluated_once(tmp_path, calls):
    lines = []
    assert campaign(tmp_path).carry_out([trial(1), trial(2), trial(1)], lines.append) == 0
    assert sorted(calls()) == ["evaluate", "evaluate", "train", "train"]
    assert len(runs(tmp_path)) == 2 and sum("done after" in line for line in lines) == 2
    assert campaign(tmp_path).carry_out([trial(1), trial(2)], lines.append) == 0
    assert len(calls()) == 4
    campaign(tmp_path, episodes=9).carry_out([trial(1)], lines.append)
    assert calls()[4:] == ["evaluate"]  # of more episodes: another evaluation, the same run


def test_any_other_configuration_is_another_run(tmp_path, calls, monkeypatch):
    campaign(tmp_path, episodes=0).carry_out([trial()], str)
    shelf = campaign(tmp_path).shelf()
    assert shelf.find(trial()).iteration == 5
    assert shelf.find(trial(options=("agent.gae_lambda=0.9", "presets=small"))).iteration == 5  # order means nothing
    for changes in ({"seed": 2}, {"task": "other"}, {"algorithm": "sapg"}, {"num_envs": 96}, {"iterations": 6},
                    {"options": ("presets=small",)}, {"rollouts": 16}):  # fmt: skip
        assert shelf.find(trial(**changes)).run is None, changes
    path = runs(tmp_path)[0].path / "run.json"
    manifest = json.loads(path.read_text())
    for name, value in (("code", "0123456789ab"), ("packages", {"torch": "1.0"})):
        path.write_text(json.dumps(manifest | {name: value}))
        assert campaign(tmp_path).shelf().find(trial()).run is None
        assert campaign(tmp_path, any_code=True).shelf().find(trial()).iteration == 5
    path.write_text(json.dumps(manifest | {"init_from": "somewhere"}))
    assert campaign(tmp_path, any_code=True).shelf().find(trial()).run is None


def test_several_ranks_train_one_run_and_one_process_evaluates_it(tmp_path, calls, monkeypatch):
    torchrun = tmp_path / "torchrun.py"  # starts one of the ranks, which is enough
    torchrun.write_text(
        "import os, sys\n"
        "os.environ['WORLD_SIZE'] = sys.argv[1].removeprefix('--nproc_per_node=')\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])\n"
    )
    monkeypatch.setattr(campaigns, "TORCHRUN", (str(torchrun),))
    shared, lines = trial(ranks=2), []
    work = campaign(tmp_path, devices=("cuda:0",))
    assert work.carry_out([shared], lines.append) == 0
    train, evaluate = (tmp_path / "calls.txt").read_text().splitlines()
    assert "--num_envs 24 " in train and train.endswith(f"--device cuda --distributed --log_root {tmp_path}/logs")
    assert evaluate.startswith("evaluate ") and "--distributed" not in evaluate and "2 ranks" in lines[0]
    shelf = work.shelf()
    assert shelf.find(shared).iteration == 5 and len(shelf.alike(TASK, "ppo", 48, 2)) == 1
    for other in (trial(), trial(num_envs=24), trial(ranks=4), trial(num_envs=96, ranks=4)):
        assert shelf.find(other).run is None


def test_runs_of_several_ranks_are_not_taken_for_those_of_one(tmp_path, calls):
    campaign(tmp_path, episodes=0).carry_out([trial()], str)
    run = runs(tmp_path)[0]
    rows = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    run.metrics_file.write_text("".join(json.dumps(row | {"env_steps": 2 * row["env_steps"]}) + "\n" for row in rows))
    assert campaign(tmp_path).shelf().find(trial()).run is None


def test_a_stopped_run_goes_on_in_its_own_folder(tmp_path, calls):
    campaign(tmp_path, episodes=0).carry_out([trial()], str)
    run = runs(tmp_path)[0]
    for iteration in (4, 5):
        (run.checkpoints / f"agent_{iteration}.pt").unlink()
    rows = run.metrics_file.read_text().splitlines(keepends=True)
    run.metrics_file.write_text("".join(rows[:3]))
    lines = []
    assert campaign(tmp_path, episodes=0).carry_out([trial()], lines.append) == 0
    assert lines[0].startswith("resume: ") and len(runs(tmp_path)) == 1
    assert run.metrics_file.read_text() == "".join(rows)


def test_runs_of_other_folders_count_also_below_a_jobs_folder(tmp_path, calls):
    campaign(tmp_path, episodes=0).carry_out([trial()], str)
    (tmp_path / "cluster" / "job_7_1").mkdir(parents=True)
    (tmp_path / "logs" / "stub").rename(tmp_path / "cluster" / "job_7_1" / "stub")
    assert campaign(tmp_path).shelf().find(trial()).run is None
    assert campaign(tmp_path, roots=[tmp_path / "cluster"]).shelf().find(trial()).iteration == 5


def test_a_failure_is_told_and_does_not_stop_the_others(tmp_path, calls):
    lines = []
    work = campaign(tmp_path, episodes=0, devices=("cpu",))
    assert work.carry_out([trial(13, iterations=1), trial(2)], lines.append) == 1
    (failure,) = [line for line in lines if "FAILED" in line]
    assert "exit code 13" in failure and pathlib.Path(failure.rpartition("see ")[2]).is_file()
    assert any("done after" in line and "seed 2" in line for line in lines)


def test_a_program_that_does_nothing_is_not_called_for_ever(tmp_path):
    lines = []
    assert campaign(tmp_path, program=(sys.executable, "-c", "")).carry_out([trial()], lines.append) == 1
    assert sum("FAILED with exit code 0" in line for line in lines) == 1


SCRIPT = """
import pathlib, sys
from test_campaign import campaign, trial
work = campaign(pathlib.Path(sys.argv[1]), devices=("cpu",))
work.carry_out([trial(seed) for seed in (1, 2)], lambda line: print(line, flush=True))
"""


def start(folder, step_s):
    environment = {**os.environ, "STUB_STEP_S": str(step_s)}
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_iteration(folder, iteration):
    deadline = time.monotonic() + 120
    while not any(newest_iteration(run) >= iteration for run in runs(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def results(folder):
    trials = {Place(TASK, "ppo", 48, seed): trial(seed) for seed in (1, 2)}
    data = evidence.collect("table1", "smoke", trials, campaign(folder).shelf(), 7)
    return [{key: run[key] for key in ("seed", "value", "evaluation", "curve", "env_steps")} for run in data["runs"]]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_whoever_is_killed_or_stopped_in_the_middle_ends_in_the_same_table(tmp_path, calls, number):
    left_alone, disturbed = tmp_path / "a", tmp_path / "b"
    campaign(left_alone).carry_out([trial(1), trial(2)], str)
    first = start(disturbed, 2.0)
    wait_for_iteration(disturbed, 2)
    first.send_signal(number)
    out, errors = first.communicate(timeout=60)
    # killed, it leaves a training behind, which holds its lock: a second start waits for it and repeats nothing
    second = start(disturbed, 0)
    out, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    assert results(disturbed) == results(left_alone) and len(results(disturbed)) == 2
    assert len(runs(disturbed)) == 2
    assert ("resume: " in out) == (number == signal.SIGTERM)


def test_the_numbers_of_a_run(tmp_path, calls):
    campaign(tmp_path).carry_out([trial(1), trial(2)], str)
    found = results(tmp_path)
    assert [run["value"] for run in found] == [105.0, 205.0]  # the last of five iterations
    assert found[0]["evaluation"] == {"mean": 11_001.0, "standard_error": 0.5, "episodes": 7}
    assert found[0]["curve"] == [[384.0 * step for step in range(1, 6)], [101.0, 102.0, 103.0, 104.0, 105.0]]
    assert found[0]["env_steps"] == 5 * 8 * 48


def test_cost_is_what_is_missing_at_the_speed_of_runs_of_that_kind(tmp_path, calls):
    campaign(tmp_path, episodes=0).carry_out([trial(1)], str)
    (tmp_path / "logs" / "stub").rename(tmp_path / "logs" / "other")
    run = runs(tmp_path)[0]
    (run.path / "big").write_bytes(bytes(10_000_000))
    for iteration in (4, 5):
        (run.checkpoints / f"agent_{iteration}.pt").unlink()
    trials = [trial(1), trial(2), trial(3, algorithm="sapg")]
    kinds = cost.estimate(trials, campaign(tmp_path).shelf())
    ppo, sapg = kinds[TASK, "ppo", 48], kinds[TASK, "sapg", 48]
    # two iterations of the stopped run and five of the missing one, 384 steps each, at 500 per second
    assert (ppo.runs, ppo.stopped, ppo.done, ppo.env_steps) == (2, 1, 0, 7 * 384)
    assert ppo.hours == pytest.approx(7 * 384 / 500 / 3600) and ppo.gigabytes == pytest.approx(0.02, rel=1e-3)
    assert sapg.speed is None and cost.table(kinds).rows[-1][-2:] == ("?", "?")
    assert cost.estimate(trials, campaign(tmp_path).shelf(), rate=100.0)[TASK, "sapg", 48].hours == pytest.approx(
        5 * 384 / 100 / 3600
    )
    published = cost.estimate(trials, campaign(tmp_path).shelf(), hours=2.0)
    assert published[TASK, "sapg", 48].hours == 2.0 and published[TASK, "ppo", 48].speed.steps_per_s == 500.0


def test_table_and_figures_of_every_kind(tmp_path):
    def run(line, num_envs, seed, value, mean):
        curve = [[100.0, 200.0], [0.0, value]]
        fresh = {"mean": mean, "standard_error": 0.1, "episodes": 7} if mean is not None else None
        return {"task": TASK, "line": line, "num_envs": num_envs, "seed": seed, "value": value, "evaluation": fresh,
                "curve": curve, "env_steps": 200, "wall_time_s": 1.0}  # fmt: skip

    data = {
        "suite": "table1", "scale": "smoke", "title": "A title", "kind": "table", "samples": 200, "planned": 5,
        "diversity": [],
        "tasks": {TASK: "Allegro hand"}, "numbers": {TASK: "return"},
        "lines": {"ppo": "PPO", "sapg": "SAPG", "pql": "PQL"},
        "runs": [run("ppo", 96, 1, 2.0, 10.0), run("ppo", 96, 2, 4.0, 20.0), run("sapg", 96, 1, 5.0, None)],
    }  # fmt: skip
    table = drawing.table(data)
    assert table.headings == ("", "Allegro hand, return")
    # standard error of 2 and 4: sqrt(2) / sqrt(2); of 10 and 20: 5
    assert table.rows == [
        ("PPO", "3 ± 1 / 15 ± 5 (2)"),
        ("SAPG", f"5 / {drawing.NOTHING} (1)"),
        ("PQL", drawing.NOTHING),
    ]
    assert drawing.robust(data).rows[0] == ("PPO", "3 [2, 4]")
    for kind in ("curves", "sizes"):
        data["kind"] = kind
        data["runs"] += [run("ppo", 48, 1, 1.0, None)] if kind == "sizes" else []
        files = drawing.draw(data, tmp_path / kind)
        assert [file.suffix for file in files] == [".png", ".svg"]
    assert drawing.table(data).headings == ("", "Allegro hand, return, N = 48", "Allegro hand, return, N = 96")
    assert drawing.draw({**data, "runs": []}, tmp_path / "none") == []


def test_published_numbers_stand_beside_ours_at_the_papers_scale_only(tmp_path):
    data = evidence.collect("table1", "paper", {Place(TASK, "ppo", 24_576, 1): trial()}, campaign(tmp_path).shelf(), 7)
    assert drawing.table(data).rows == [("PPO", drawing.NOTHING), ("PPO, published", "1.01e4 ± 6.31e2")]
    assert len(drawing.table({**data, "scale": "laptop"}).rows) == 1


@pytest.mark.parametrize(
    ("row", "best"),
    [
        ({"Leader/return": 9.0}, None),
        ({"Block_0/return": 1.0, "Block_11/return": 3.0, "Block_1/return": 2.0, "Block_1/length": 8.0}, 3.0),
        ({"Blocks/return_lowest": 1.0, "Blocks/return_median": 2.0, "Blocks/return_highest": 4.0}, 4.0),
    ],
)
def test_best_of_the_policies_however_they_are_logged(row, best):
    assert evidence._best_policy(row, "return") == best
