"""What a request costs a proxy in instructions, system calls and allocations may go down; up by more than 3 % fails."""
import json
import os
import pathlib
import sys

import mesh as meshes
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import counts  # noqa: E402

AGAIN = "; if it is worth it: python3 bench/counts.py writes bench/counts.json anew"


@pytest.mark.skipif(os.environ.get("TULLE_PRESET", "dev") != "dev", reason="the baseline is that of the dev build")
def test_a_request_costs_no_more_than_before(binaries, tmp_path):
    tmp_path.chmod(0o711)
    baseline = json.loads(counts.BASELINE.read_text())
    for attempt in (1, 2):  # a timer that fell into a request is not there the second time
        folder = tmp_path / str(attempt)
        folder.mkdir(mode=0o711)
        try:
            counted = counts.count(folder, meshes.BIN)
        except counts.Unable as e:
            pytest.skip(f"instructions cannot be counted here: {e}")
        problems = [p for side in ("outbound", "inbound") for p in counts.growth(side, baseline[side], counted[side])]
        if not problems:
            return
    pytest.fail("\n".join(problems) + AGAIN, pytrace=False)


def side(instructions=10_000, routing=500, syscalls=6.0, allocations=3.0):
    return {"instructions": {"HTTP codecs": instructions, "routing and policy": routing, "event loop": 3000},
            "syscalls": {"recvfrom": syscalls}, "allocations": allocations}


def test_growth_is_told_with_its_stage():
    assert counts.growth("outbound", side(), side()) == []
    assert counts.growth("outbound", side(), side(instructions=9000, syscalls=5, allocations=1)) == []
    assert counts.growth("outbound", side(), side(instructions=10_200)) == []
    [told] = counts.growth("outbound", side(), side(routing=900))
    assert "outbound" in told and "routing and policy 500 → 900" in told
    [told] = counts.growth("inbound", side(), side(syscalls=6.5))
    assert "6.5 system calls" in told
    [told] = counts.growth("inbound", side(), side(allocations=4))
    assert "4 allocations" in told
