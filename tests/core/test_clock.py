"""Processor time of one thread, which no other thread's work adds to."""

import threading

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
