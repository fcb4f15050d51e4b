import dataclasses
import importlib.util
import json
import os
import pathlib
import signal

import pytest

from sapg_isaaclab.experiments import bars, references, scaling, study_envs
from sapg_isaaclab.experiments import point_runs as runs
from sapg_isaaclab.experiments.point_runs import ALGORITHMS, Setting
from sapg_isaaclab.runs import metrics

TINY = Setting("two_goals", "sapg", 48, 7, 12)


def study(*arguments):
    """Call scripts/study.py in this process."""
    path = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "study.py"
    spec = importlib.util.spec_from_file_location("script_study", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    log_root = tmp_path_factory.mktemp("study")
    return log_root, runs.train(TINY, log_root)


def test_algorithms_are_what_their_names_say():
    assert ALGORITHMS["sapg"]().num_blocks == 6
    grows, fixed = ALGORITHMS["ppo"](), ALGORITHMS["ppo_fixed_minibatch"]()
    # 4 N rows of the 8 N of a rollout, not shuffled; and the same number of rows at the smallest size of the study
    assert (grows.num_blocks, grows.rollouts / grows.mini_batches, grows.shuffle) == (1, 4.0, False)
    assert (fixed.num_blocks, fixed.mini_batch_size, fixed.shuffle) == (1, 4 * 384, True)


def test_the_command_names_everything_there_is():
    from sapg_isaaclab.commands import study as command

    named = command.ALGORITHMS, command.BARS, command.ENVS
    assert named == tuple(map(tuple, (ALGORITHMS, bars.BARS, study_envs.ENVS)))


def test_finished_run_is_found_again_and_not_another(trained):
    log_root, run = trained
    assert runs.finished(TINY, log_root).path == run.path
    for name, value in {"seed": 8, "iterations": 13, "num_envs": 96, "algorithm": "ppo"}.items():
        assert runs.finished(dataclasses.replace(TINY, **{name: value}), log_root) is None
    assert [(setting, before) for setting, _, before in runs.train_all([TINY], log_root)] == [(TINY, True)]


def test_interrupted_run_is_not_taken_for_finished(trained, tmp_path):
    run = runs.train(TINY, tmp_path)
    rows = metrics.read(run)[:-1]
    run.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert runs.finished(TINY, tmp_path) is None


def test_stopped_run_goes_on_and_ends_as_if_it_never_stopped(trained, tmp_path, monkeypatch):
    class Stopping(runs.ENVS[TINY.env]):
        steps = 0

        def step(self, actions):
            Stopping.steps += 1
            if Stopping.steps == 5 * 8 - 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().step(actions)

    with monkeypatch.context() as patch:
        patch.setitem(runs.ENVS, TINY.env, Stopping)
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            runs.train(TINY, tmp_path)
    (folder,) = tmp_path.glob("*/*")
    stopped = runs.RunFolder(folder)
    assert [row["iteration"] for row in metrics.read(stopped)] == [1, 2, 3, 4, 5]
    assert runs.setting_of(stopped) == TINY and runs.finished(TINY, tmp_path) is None
    assert runs.train(TINY, tmp_path, resume=stopped).path == stopped.path

    def numbers(run):
        return [{tag: value for tag, value in row.items() if "Perf/" not in tag} for row in metrics.read(run)]

    assert numbers(stopped) == numbers(trained[1]) and runs.finished(TINY, tmp_path).path == stopped.path


def test_evaluation_is_of_whole_fresh_episodes_and_repeats_itself(trained):
    first, second = (runs.evaluate(trained[1], 30, seed=5) for _ in range(2))
    assert (
        first == second and first["iteration"] == 12 and first["num_episodes"] == len(first["episodes"]["return"]) == 30
    )
    random, optimal = (references.measure(TINY.env, name).mean for name in ("random", "optimal"))
    assert 0.5 * random < first["return"]["mean"] < optimal
    assert runs.evaluate(trained[1], 30, seed=6)["return"] != first["return"]
    with pytest.raises(ValueError, match="no run of this version"):
        runs.evaluate(runs.RunFolder(trained[0]), 30, seed=5)


def test_options_are_those_of_the_agent():
    options = ("agent.aggregation=none", "agent.learning_rate=1e-3", "agent.shuffle=false", "agent.hidden_sizes=[8, 4]")
    cfg = dataclasses.replace(TINY, options=options).agent_cfg()
    assert (cfg.aggregation, cfg.learning_rate, cfg.shuffle, cfg.hidden_sizes) == ("none", 1e-3, False, (8, 4))
    for option, message in (("agent.no=1", "no such option"), ("env.no=1", "not understood"),
                            ("agent.aggregation=some", "must be one of")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(TINY, options=(option,)).agent_cfg()


@pytest.mark.slow
def test_same_setting_gives_the_same_numbers_in_another_process(trained, tmp_path):
    twice = dict.fromkeys((TINY, Setting("two_goals", "ppo", 48, 7, 12)))
    found = {setting: run for setting, run, _ in runs.train_all(list(twice), tmp_path, jobs=2)}
    first, second = (runs.outcome(run) for run in (trained[1], found[TINY]))
    assert {**first, "wall_time_s": 0} == {**second, "wall_time_s": 0}
    assert len(first["block_returns"]) == 6 and first["block_returns"][0] == first["return"]
    assert first["env_steps"] == 12 * 8 * 48


def test_last_row_means_the_last_tenth(tmp_path):
    # 64 environments for 80 updates of 8 steps: the last 8 updates hold 64 steps, one episode of 64 steps each
    run = runs.train(Setting("two_goals", "ppo", 64, 0, 80), tmp_path)
    rows = metrics.read(run)
    assert rows[-1]["Leader/episodes"] - rows[-9]["Leader/episodes"] == 64


def test_goal_that_was_lost_again_is_told_from_one_never_found(tmp_path):
    rows = [{}, {"Leader/successes": 0.25}, {"Leader/successes": 0.0, "Leader/return": 3.0}]
    run = runs.RunFolder(tmp_path)
    run.metrics_file.write_text(
        "".join(json.dumps(row | {"env_steps": 1, "Perf/wall_time_s": 1}) + "\n" for row in rows)
    )
    found = runs.outcome(run)
    assert (found["return"], found["successes"], found["peak_successes"]) == (3.0, 0.0, 0.25)


def test_table_and_figure_from_the_collected_numbers(tmp_path):
    found = [
        ("ppo", 384, 1, 2.0, 0.0),
        ("ppo", 384, 2, 4.0, 0.5),
        ("sapg", 384, 1, 6.0, 1.0),
        ("sapg", 384, 2, 6.0, 1.0),
    ]
    names = ("algorithm", "num_envs", "seed", "return", "successes")
    marks = {name: {"mean": float(place)} for place, name in enumerate(references.BEHAVIOURS)}
    data = {"env": "two_goals", "iterations": 12, "references": marks, "runs": [dict(zip(names, run)) for run in found]}
    text = scaling.table(data).markdown().splitlines()
    assert text[0] == "| algorithm | 384 |"
    assert text[2] == "| ppo | 3.00 ± 1.00 (0.250 ± 0.250) |"
    assert text[3] == "| sapg | 6.00 ± 0.00 (1.000 ± 0.000) |"
    scaling.plot(data, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"


def test_collected_numbers_name_their_commit(trained):
    data = json.loads(json.dumps(scaling.collect({TINY: trained[1]})))
    assert data["runs"][0]["algorithm"] == "sapg" and data["runs"][0]["num_envs"] == 48
    assert data["references"]["optimal"]["successes"] == 1.0
    assert data["commits"] and data["packages"]["torch"]


def test_command_trains_what_is_missing_and_draws(tmp_path, capsys):
    small = ("scaling", "--num_envs", 48, "--iterations", 12, "--algorithms", "ppo", "--output", tmp_path)
    assert study(*small, "--env", "two_goals", "--seeds", 1) == 0
    assert "done before" not in capsys.readouterr().out
    assert study(*small, "--env", "two_goals", "--seeds", 1, 2) == 0
    out = capsys.readouterr().out
    assert out.count("done before") == 1 and "| ppo |" in out
    data = json.loads((tmp_path / "scaling_two_goals.json").read_text())
    assert [run["seed"] for run in data["runs"]] == [1, 2]
    assert (tmp_path / "scaling_two_goals.png").is_file()


def test_size_that_blocks_cannot_share_is_refused_before_anything_is_trained(tmp_path, capsys):
    assert study("scaling", "--num_envs", 384, 100, "--output", tmp_path / "new") == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "use --num_envs 96 or 102" in captured.err
    assert not (tmp_path / "new").exists()


def test_bars_lie_between_random_and_their_level():
    for bar in bars.BARS.values():
        low, high = (references.measure(bar.env, name).mean for name in ("random", bar.level))
        assert low < bar.height() < high
