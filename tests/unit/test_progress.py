import io

import pytest
from rich.console import Console

from sapg_isaaclab.training.progress import Progress, duration

METRICS = {"Leader/return": 12.5, "Leader/successes": 1.5, "Perf/env_steps_per_s": 1234.0, "Policy/kl": 0.0123}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.4, "59s"), (200, "3m20s"), (18420, "5h07m"), (183600, "2d03h"), (-3, "0s")]
)
def test_duration_is_readable(seconds, text):
    assert duration(seconds) == text


def test_a_log_gets_few_plain_lines():
    console = Console(file=io.StringIO(), width=40)
    with Progress(0, 1000, ["leader", "follower 1"], console) as progress:
        for iteration in range(1, 1001):
            progress.update(iteration, iteration * 96, METRICS | {"Block_1/return": 3.0})
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 2 and "\x1b" not in console.file.getvalue()
    assert lines[0].startswith("iteration 1/1000 | 96 env-steps | 1,234/s | ETA ")
    assert "leader: return 12.5 successes 1.5 | blocks: return - 3 | kl 0.0123" in lines[0]
    assert lines[1].startswith("iteration 1000/1000 | 96,000 env-steps")


def test_a_terminal_gets_a_table_of_the_policies():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with Progress(0, 10, ["leader", "follower 1"], console) as progress:
        progress.update(1, 96, METRICS | {"Block_0/return": 12.5, "Block_1/return": 3.0})
    text = console.file.getvalue()
    assert "leader" in text and "follower 1" in text and "12.5" in text


def test_of_many_policies_both_show_a_summary():
    policies = ["leader", *(f"follower {block}" for block in range(1, 64))]
    numbers = METRICS | {"Blocks/return_lowest": 1.0, "Blocks/return_median": 7.0, "Blocks/return_highest": 20.0}
    for terminal in (False, True):
        console = Console(file=io.StringIO(), width=120, force_terminal=terminal)
        with Progress(0, 10, policies, console) as progress:
            progress.update(1, 96, numbers)
        text = console.file.getvalue()
        if terminal:
            assert "highest of 64" in text and "leader" in text and "follower 1" not in text and len(text) < 3000
        else:
            assert "leader: return 12.5 successes 1.5 | blocks: return 1 7 20 | kl" in text
