import os
import signal
import threading
import time

import pytest

from sapg_isaaclab.training import signals
from sapg_isaaclab.training.signals import STOP_SIGNALS, StopFlag, interrupting


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_signal_sets_the_flag_and_the_first_one_is_named(number):
    before = signal.getsignal(number)
    with StopFlag() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_name == number.name
    assert signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopFlag() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        with interrupting():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_batch_script_may_want_an_ignored_signal_caught(monkeypatch):
    monkeypatch.setenv(signals.CAUGHT_ANYWAY, "SIGUSR1,SIGUSR2")
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with StopFlag() as stop:
            os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.signal_name == "SIGUSR1" and signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_one_ctrl_c_may_arrive_twice_and_a_second_one_interrupts(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with StopFlag() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        clock[0] += 0.1
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal_name == "SIGINT"
        clock[0] += 1.0
        os.kill(os.getpid(), signal.SIGTERM)  # only the keyboard means "at once"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_before_training_every_stop_signal_ends_as_ctrl_c_does(number):
    with pytest.raises(KeyboardInterrupt, match=number.name), interrupting():
        os.kill(os.getpid(), number)


def test_a_handler_that_is_not_of_python_is_no_trouble(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    handlers = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.append(handler))
    with StopFlag():
        pass
    assert handlers[len(STOP_SIGNALS) :] == [signal.SIG_DFL] * len(STOP_SIGNALS)


def test_outside_the_main_thread_nothing_is_caught():
    found = []

    def enter():
        with StopFlag() as stop:
            found.append((signals._install(lambda *_: None), stop.requested))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [({}, False)]
