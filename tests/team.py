"""Real processes with a gloo process group, which run functions of the tests."""

import contextlib
import io
import multiprocessing
import traceback

import torch
import torch.distributed as dist

TIMEOUT_S = 400  # starting takes long on a machine that others use as well


class Team:
    """``size`` ranks, started once and used by many tests.

    Args:
        size: Number of processes.
        folder: An existing folder, through which they find each other.
    """

    def __init__(self, size: int, folder) -> None:
        context = multiprocessing.get_context("spawn")
        self._ends, self._processes = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, size, f"file://{folder}/group", theirs), daemon=True)
            process.start()
            theirs.close()
            self._ends.append(ours)
            self._processes.append(process)

    def run(self, function, *arguments) -> list:
        """Call ``function(rank, *arguments)`` on all ranks.

        Returns:
            What each returned, and what each wrote to standard error; an exception counts as returned.
        """
        for end in self._ends:
            end.send((function, arguments))
        results = []
        for rank, end in enumerate(self._ends):
            assert end.poll(TIMEOUT_S), f"rank {rank} does not answer"
            try:
                results.append(end.recv())
            except EOFError:
                results.append((None, "gone"))
        return results

    def values(self, function, *arguments) -> list:
        """Like :meth:`run`, where no rank may fail."""
        results = self.run(function, *arguments)
        for value, error in results:
            assert not isinstance(value, BaseException), error
        return [value for value, _ in results]

    @property
    def whole(self) -> bool:
        """Whether all of them are still there."""
        return all(process.is_alive() for process in self._processes)

    def close(self) -> None:
        """End the processes."""
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(5)
            process.kill()


def _serve(rank, size, meeting_point, connection) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting_point, rank=rank, world_size=size)
    with contextlib.suppress(EOFError):
        while True:
            function, arguments = connection.recv()
            stream = io.StringIO()
            with contextlib.redirect_stderr(stream), contextlib.redirect_stdout(io.StringIO()):
                try:
                    value = function(rank, *arguments)
                except Exception as error:
                    value = error
            if isinstance(value, Exception):
                trace = "".join(traceback.format_exception(value))
                connection.send((value, stream.getvalue() + ("" if getattr(value, "reported", False) else trace)))
            else:
                connection.send((value, stream.getvalue()))
