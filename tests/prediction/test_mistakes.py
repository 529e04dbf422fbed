"""What a user may get wrong: each ends with one message that says what, where and the remedy."""

import json
import re
import sys
from pathlib import Path

import pytest

from cotenant.cli import main


@pytest.fixture
def said(files, monkeypatch, capsys):
    """Runs a command as a shell would; its exit status, and what it wrote on standard error."""

    def run(command: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["cotenant", command, *files])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().err

    return run


def rewritten(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


@pytest.mark.parametrize("command", ["predict", "simulate"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("10/s", "0/s"), ":8: tasks.0.arrivals.rate: Input should be greater than 0"),
        (("10/s", "-5/s"), "rate: '-5/s' is not a rate; write a number per time, such as '20/s'"),
        (("50ms}", "50ms, quantile: 1}"), ":7: tasks.0.slo.quantile: Input should be less than 1"),
        (("width: 1", "width: 1\n    segments: 3"),
         "the profile lacks task 'det': .* at width 1, 3 segments; it has .*; run 'cotenant prof"),
        (("model: bulk", "model: other"), "other.onnx"),
        (("poisson, rate: 10/s", "trace, path: late.txt"),
         "late.txt:3: 0.5 comes before the line above it or before 0; sort the file"),
        (("poisson, rate: 10/s", "trace, path: no.txt"), "cannot read trace file .*no.txt"),
    ],
)  # fmt: skip
def test_a_workload_that_cannot_be(files, said, command, change, says):
    (Path(files[0]).parent / "late.txt").write_text("# seconds\n1\n0.5\n")
    rewritten(files[0], *change)
    status, message = said(command)
    assert status in (1, 2)
    assert "Traceback" not in message
    assert re.search(says, message), message


@pytest.mark.parametrize("command", ["predict", "capacity", "simulate"])
@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"second_moment_s2": 1e-5}, "second_moment_s2 1e-05 is under the square of mean_s 0.02"),
        ({"mean_s": -1.0}, "mean_s: Input should be greater than 0"),
        ({"quantiles_s": [0.02, 0.01] * 8}, "do not decrease"),
    ],
)
def test_a_profile_that_was_edited_into_nonsense(files, said, command, edit, says):
    profile = Path(files[2])
    content = json.loads(profile.read_text())
    content["alone"][0]["service"].update(edit)
    profile.write_text(json.dumps(content))
    status, message = said(command)
    assert status in (1, 2)
    assert "alone.0.service" in message
    assert says in message
    assert "run 'cotenant profile' again" in message


@pytest.mark.parametrize("command", ["predict", "capacity", "simulate"])
def test_a_profile_that_lacks_a_model(files, said, command):
    profile = Path(files[2])
    content = json.loads(profile.read_text())
    del content["alone"][1]
    profile.write_text(json.dumps(content))
    status, message = said(command)
    assert status in (1, 2)
    assert "the profile lacks task 'bulk'" in message
    assert "run 'cotenant profile' with this task in the workload" in message


def test_the_table_of_an_unstable_mix_names_the_culprit(files, monkeypatch, capsys):
    rewritten(files[0], "rate: 10/s", "rate: 60/s")
    monkeypatch.setattr(sys, "argv", ["cotenant", "predict", *files])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    shown = capsys.readouterr().out
    assert "unstable: with 'det' more work arrives than can be done" in shown
    assert "does not fit" in shown
