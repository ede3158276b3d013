"""`./dev bench --peer-proxy`: who may, and what the named peer is compared with."""
import argparse
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import outcome  # noqa: E402
import rows  # noqa: E402
import run  # noqa: E402


def test_without_root_a_peer_is_skipped_loudly(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    notes = []
    args = argparse.Namespace(pairs="none", peer_proxy="/bin/true", binaries=tmp_path)
    assert list(run.make_pairs(args, tmp_path, 1024, notes)) == ["none"]
    [note] = notes
    assert note.startswith("SKIPPED: peer, tulle sidecar: ") and "root" in note
    assert note in capsys.readouterr().err


def test_a_peer_that_is_no_program_is_refused(tmp_path):
    done = subprocess.run([sys.executable, "-B", ROOT / "bench/run.py", "--peer-proxy", tmp_path], text=True, capture_output=True)
    assert done.returncode == 1 and "no program" in done.stderr, done.stderr


def test_results_do_not_say_where_the_peer_is(monkeypatch):
    words = ["--quick", "--peer-proxy", "/some/where/a-proxy"]
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    args = argparse.Namespace(results=run.RESULTS, peer_proxy=words[-1])
    assert run.command_line(args) == "./dev bench --quick --peer-proxy a-proxy"


def result(cpu):
    return {"cpu": cpu, "cpu_each": [cpu, cpu], "p50_us": cpu, "p99_us": cpu, "p999_us": cpu, "rate": 1}


def lines_of(**cpu):
    """The lines of the row at 2,000/s: one round, with that figure of each pair."""
    row = next(r for r in rows.ROWS if r.name == "HTTP/1.1 1 KiB, 2,000/s")
    return outcome.row_lines(row, {pair.replace("_", " "): [result(value)] for pair, value in cpu.items()}, run.OURS)


def test_a_peer_is_compared_with_ours_in_the_same_place():
    line = lines_of(none=1, haproxy=40, tulle=20, tulle_sidecar=30, peer=60)[0]
    assert line.ratios == {"none": 20, "haproxy": 0.5, "peer": 0.5}
    assert "| tulle ÷ haproxy | tulle sidecar ÷ peer |" in outcome.table([line], list(line.values), run.OURS)


@pytest.mark.parametrize("cpu, verdict", [(30, "reached"), (48, "**not reached** (1.33 of the bound)")])
def test_the_target_against_a_peer_is_told_where_there_is_one(cpu, verdict):
    lines = lines_of(tulle=20, tulle_sidecar=cpu, peer=60)
    assert f"| CPU per request, 2,000/s | ≤ 0.6 × peer | {cpu / 60:.2f} × | {verdict} |" in outcome.targets(lines, ["tulle", "tulle sidecar", "peer"], run.OURS)
    assert "peer" not in outcome.targets(lines_of(tulle=20), ["tulle"], run.OURS)


class Fake:
    """A pair that answers each load but those that fail."""
    protocols, proxies, may_fail = {"http1"}, [], True

    def __init__(self, name, *answers):
        self.name, self.answers, self.failed = name, list(answers), set()

    def proxies_of(self, what):
        return []

    def load(self, *words):
        answer = self.answers.pop(0)
        if answer is None:
            raise SystemExit("bench: the load ended early")
        return {"requests": answer, "rate": answer}


def test_a_row_that_fails_with_a_peer_is_left_out_with_a_note():
    row, notes, said = rows.Row("a row", "http1", rounds=2), [], []
    pairs = {"none": Fake("none", 1, 2), "peer": Fake("peer", 1, None)}
    results = rows.measure_rows([row], pairs, False, notes, said.append)
    assert [r["rate"] for r in results["a row"]["none"]] == [1, 2] and "peer" not in results["a row"]
    assert notes == ["SKIPPED: a row: bench: the load ended early"] and notes[0] in said
    pairs["peer"].may_fail, pairs["peer"].answers, pairs["none"].answers = False, [None], [1]
    pairs["peer"].failed.clear()
    with pytest.raises(SystemExit):
        rows.measure_rows([row], pairs, True, notes, said.append)
