"""A run that is killed at random moments and resumed each time ends as one that was left alone, bit by bit.

``SAPG_KILLS=40 python -m pytest tests/system/test_kills.py -s`` kills forty times and says where.
"""

import os
import random
import time

import toy_train
from same_state import assert_same_state
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import find_runs

KILLS = int(os.environ.get("SAPG_KILLS", "4"))


def without_times(rows):
    return [{tag: value for tag, value in row.items() if not tag.startswith("Perf/")} for row in rows]


def test_killed_at_random_moments_and_resumed_nothing_is_lost(tmp_path):
    iterations = 30 * KILLS
    options = {"checkpoint_interval": 2, "keep_checkpoints": 3}
    assert toy_train.finish(toy_train.start(tmp_path / "whole", iterations, **options), 300) == 0

    root, moments, newest, kills = tmp_path / "killed", random.Random(1), 0, 0
    while kills < KILLS:
        process = toy_train.start(root, iterations, **options)
        if kills % 4 == 0:  # perhaps while it starts and loads
            time.sleep(moments.uniform(0.0, 1.0))
        else:
            toy_train.wait_for_rows(root, process, moments.randint(1, 20))
            time.sleep(moments.uniform(0.0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -9, "the run was over before it could be killed"
        kills += 1
        for run in find_runs(root):  # none yet if it was killed before the first checkpoint
            found = {number: checkpoint.load(path)["iteration"] for number, path in checkpoint.numbered(run).items()}
            assert all(number == inside for number, inside in found.items())
            reached = checkpoint.load(checkpoint.latest(run))["iteration"]
            assert reached >= newest
            newest = reached
        print(f"kill {kills}: newest checkpoint {newest}")
    assert toy_train.finish(toy_train.start(root, iterations, **options), 300) == 0

    (whole,), (killed,) = find_runs(tmp_path / "whole"), find_runs(root)
    assert_same_state(checkpoint.load(checkpoint.latest(whole)), checkpoint.load(checkpoint.latest(killed)))
    assert without_times(metrics.read(whole)) == without_times(metrics.read(killed))
    assert not list(killed.path.rglob(".*.tmp"))
