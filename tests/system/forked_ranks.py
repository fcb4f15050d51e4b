"""Runs the training command on several ranks, each a fork of one process that has imported everything.

``python forked_ranks.py RANKS ARGUMENT... --then RANKS ARGUMENT...`` starts it with the arguments on as many ranks, one
start after the other, and prints the exit codes of each. What every rank printed is left in ``rank.<start>.<rank>.out``
and ``.err``. torchrun gives a rank nothing but the variables that are set here; the batch script's
test starts torchrun itself.
"""

import itertools
import os
import socket
import sys

import isaaclab_rl.skrl  # noqa: F401
from isaaclab.app import launch_simulation  # noqa: F401

import sapg_isaaclab.tasks.in_hand.env  # noqa: F401
from sapg_isaaclab import streams
from sapg_isaaclab.commands import job, train  # noqa: F401
from sapg_isaaclab.training import trainer  # noqa: F401


def start(number, size, arguments):
    """Start the command on all ranks and wait for them; the exit codes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    ranks = []
    for rank in range(size):
        ranks.append(os.fork())
        if ranks[-1] == 0:
            if size > 1:
                place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size}
                os.environ |= {name: str(value) for name, value in place.items()}
                os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
            for descriptor, name in ((1, "out"), (2, "err")):
                file = os.open(f"rank.{number}.{rank}.{name}", os.O_WRONLY | os.O_CREAT)
                os.dup2(file, descriptor)
            try:
                code = train.main(arguments)
            except SystemExit as end:
                code = end.code
            streams.flush()
            os._exit(int(code or 0))
    return [os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1]) for rank in ranks]


def main():
    words = ["--then", *sys.argv[1:]]
    starts = [list(words) for is_mark, words in itertools.groupby(words, "--then".__eq__) if not is_mark]
    for number, (size, *arguments) in enumerate(starts):
        print(*start(number, int(size), arguments), flush=True)


if __name__ == "__main__":
    main()
