"""Processor time of a thread or a process, which nobody else's work adds to."""

import os
import subprocess
import sys
import threading

import pytest

from cotenant.core.clock import processor_time_s, thread_time_s


def test_a_threads_time_is_its_own() -> None:
    ready, stop = threading.Event(), threading.Event()
    threads: list[int] = []

    def rest() -> None:
        threads.append(threading.get_native_id())
        ready.set()
        stop.wait()

    resting = threading.Thread(target=rest)
    resting.start()
    ready.wait()
    own = threading.get_native_id()
    before_s, before_own_s = thread_time_s(threads[0]), thread_time_s(own)
    start_s = processor_time_s()
    while processor_time_s() < start_s + 0.05:
        pass
    used_s, used_own_s = thread_time_s(threads[0]) - before_s, thread_time_s(own) - before_own_s
    stop.set()
    resting.join()
    assert used_s < used_own_s
    assert used_own_s > 0.0


def test_a_process_is_asked_by_its_number() -> None:
    work = (
        "import sys, time\n"
        "while time.process_time() < 0.2: pass\n"
        "print(flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        before_s, before_own_s = processor_time_s(other.pid), processor_time_s(os.getpid())
        while processor_time_s() < before_own_s + 0.05:
            pass
        assert processor_time_s(other.pid) - before_s < 0.01  # it waits
        assert before_s >= 0.2
        other.stdin.close()
    with pytest.raises(OSError, match="argument"):
        processor_time_s(other.pid)
