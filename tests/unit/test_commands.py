import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from sapg_isaaclab.commands import table

REPOSITORY = Path(__file__).resolve().parents[2]


def test_help_lists_every_command_and_its_text(capsys):
    for argv in ([], ["--help"], ["-h"]):
        assert table.main(argv) == 0
        lines = capsys.readouterr().out.splitlines()
        for name, text in table.COMMANDS.items():
            assert any(line.split(maxsplit=1) == [name, text] for line in lines if line.strip())


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("trian", "error: there is no command 'trian'; did you mean train?"),
        ("list-envs", "did you mean list_envs?"),
        ("xyz", "use one of train, play, evaluate"),
        ("--task", "there is no command '--task'"),
    ],
)
def test_an_unknown_command_is_answered_in_one_line(typed, answer, capsys):
    assert table.main([typed]) == 2
    output = capsys.readouterr()
    assert output.out == "" and answer in output.err and output.err.count("\n") == 1


@pytest.mark.parametrize("name", table.COMMANDS)
def test_a_command_has_a_module_and_a_script_of_its_name(name):
    assert importlib.util.find_spec(f"sapg_isaaclab.commands.{name}") is not None
    script = (REPOSITORY / "scripts" / f"{name}.py").read_text()
    assert f"from sapg_isaaclab.commands.{name} import main\n" in script and len(script.splitlines()) < 10


def test_every_script_is_a_command():
    assert {path.stem for path in (REPOSITORY / "scripts").glob("*.py")} == set(table.COMMANDS)


def test_the_table_alone_imports_nothing_heavy():
    program = "import sys; from sapg_isaaclab.commands.table import main; main(['--help'])\n"
    program += "print(sorted({'torch', 'skrl', 'isaaclab', 'warp'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "[]", result.stderr


TASK = ["--task", "SAPG-Allegro-Reorient"]
WRONG = [
    ["train", *TASK, "--num_env", "3"],
    ["train", *TASK, "--num_envs", "0"],
    ["train", *TASK, "--algorithm", "dqn"],
    ["train", *TASK, "--seed", "-5"],
    ["train", *TASK, "--device", "gpu"],
    ["train", *TASK, "agent.learning_rate=fast"],
    ["train", *TASK, "--agent.num_block=3"],
    ["train", *TASK, "agent.experiment.write_interval=3"],
    ["train", *TASK, "presets=papers"],
    ["train", *TASK, "physics=bullet"],
    ["train", *TASK, "--log_root", "/dev/null"],
    ["train", *TASK, "--init_from", "/nowhere.pt"],
    ["train", "--resume", "/nowhere.pt"],
    ["train", "--task", "SAPG-Alegro-Reorient"],
    ["train", "--task", "no_such_module:Task"],
    ["train"],
    ["play", "--video", "film.avi"],
    ["play", "agent.num_blocks=3"],
    ["evaluate", "--output", "/nowhere/x.json"],
    ["export", "--output", "policy.zip"],
    ["export", "--output", "/nowhere/policy.onnx"],
    ["train", *TASK, "--resume", "pretrained"],
    ["train", *TASK, "--log_root", "/proc/x"],
    ["train", *TASK, "--wandb_project", ""],
    ["train", *TASK, "--wandb_tags", ","],
    ["benchmark", "--steps", "0"],
    ["benchmark", "--json", "/nowhere/x.json"],
    ["compare_engines", "--num_envs", "0"],
    ["study", "scaling", "--env", "x"],
    ["study", "bars", "--algorithm", "sapg", "--output", "/proc/x"],
    ["analyze", "curves", "--runs", "A=.", "--output", "/nowhere/x.png"],
    ["list_envs", "--wrong"],
]


def test_what_is_wrong_with_an_argument_is_answered_before_torch_is_imported():
    program = f"""
import sys
from sapg_isaaclab.commands.table import main

for argv in {WRONG!r}:
    print(main(argv), sorted({{"torch", "isaaclab", "skrl"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines() == ["2 []"] * len(WRONG), result.stderr
    assert result.stderr.count("error: ") == len(WRONG) and "Traceback" not in result.stderr
