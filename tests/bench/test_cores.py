"""Who runs on which core while something is measured."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cotenant.bench.cores import Cores, confined, shared_out, who_runs_where
from cotenant.bench.load import LoadGenerator
from cotenant.cli.bench import bench
from cotenant.core.errors import CotenantError
from cotenant.core.hardware import allowed_cores

HERE = allowed_cores()
FIRST, REST = HERE[0], HERE[1:]


def test_servers_have_every_core_unless_told_otherwise() -> None:
    assert shared_out() == Cores(HERE, ())


def test_the_generator_has_what_servers_leave() -> None:
    assert shared_out([FIRST, FIRST]) == Cores((FIRST,), REST)
    assert shared_out(reversed(HERE)) == Cores(HERE, ())


def test_a_core_that_may_not_be_used_is_refused() -> None:
    with pytest.raises(CotenantError, match=rf"cores {FIRST}, 4096: .* may use {FIRST}"):
        shared_out([4096, FIRST])


def test_what_is_started_inside_keeps_to_the_cores_and_nothing_else_does() -> None:
    ask = "import os; print(sorted(os.sched_getaffinity(0)))"
    with confined([FIRST]):
        inside = subprocess.check_output([sys.executable, "-c", ask], text=True)
    assert inside.strip() == f"[{FIRST}]"
    assert allowed_cores() == HERE


def test_the_cores_come_back_after_an_error() -> None:
    with pytest.raises(KeyError), confined([FIRST]):
        raise KeyError
    assert allowed_cores() == HERE


def test_the_generator_is_where_it_is_told_to_be_and_not_where_it_was_started() -> None:
    last = HERE[-1]
    with confined([FIRST]), LoadGenerator([last]) as generator:
        assert os.sched_getaffinity(generator.pid) == {last}


@pytest.mark.parametrize("suite", ["mixed", "mdtb", "disb", "prediction"])
def test_a_suite_refuses_cores_that_are_not_there(suite, tmp_path) -> None:
    out = tmp_path / "out"
    for wrong, words in (("4096", "this process may use"), ("first", "no list of whole numbers")):
        result = CliRunner().invoke(bench, [suite, "--out", str(out), "--cores", wrong])
        assert result.exit_code
        assert words in " ".join(result.output.split())
    assert not out.exists()


def test_a_report_says_who_ran_where() -> None:
    apart = {"cores": {"servers": [0], "generator": [1, 2]}}
    assert [*who_runs_where(apart)] == ["Servers on core 0; load generator on core 1, 2."]
    together = {"cores": {"servers": [0, 1], "generator": []}}
    assert [*who_runs_where(together)] == ["Servers on core 0, 1; load generator beside them."]
    assert not [*who_runs_where({})]
