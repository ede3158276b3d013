"""The demo's conditions are worth something: they fail where they should."""
import random

import report


def records(share_while_slow, share_after=1 / 3, seconds=60, rate=80, slow=(6.0, 16.0)):
    """A run in which api-1 gets the given shares of the requests while it is slow and after."""
    rng = random.Random(1)
    out = []
    for number in range(int(seconds * rate)):
        t = 1000 + number / rate
        share = share_while_slow if slow[0] <= t - 1000 < slow[1] else share_after
        instance = "api-1" if rng.random() < share else rng.choice(["api-2", "api-3"])
        record = {"id": number, "kind": "price", "t": t, "ok": True, "ms": 2.0, "instance": instance,
                  "edges": {"rates": 1.0, "store": 0.2, "api": 2.0}}
        if instance == "api-1":
            record["slow_window"] = [1000 + slow[0], 1000 + slow[1]]
        out.append(record)
    return out


def verdicts(found):
    return [v.holds for v in found]


def test_an_equal_share_while_slow_fails():
    assert verdicts(report.check_slow(records(1 / 3), "api-1", full=False)) == [False]  # what round robin does


def test_a_small_share_while_slow_holds():
    assert verdicts(report.check_slow(records(0.1), "api-1", full=True)) == [True, True]


def test_an_instance_that_is_never_forgiven_fails():
    assert verdicts(report.check_slow(records(0.1, share_after=0.2), "api-1", full=True)) == [True, False]


def test_a_slow_time_that_was_not_seen_fails():
    assert verdicts(report.check_slow(records(0.1, seconds=10), "api-1", full=False)) == [False]


def test_a_share_is_not_judged_once_there_is_nobody_to_share_with():
    """After `kill` of api-2, api-1 gets all that the route gives to their version, slow or not."""
    def killed(at):
        return [dict(r, instance="api-1") if r["t"] >= at and r["instance"] == "api-2" else r for r in records(0.1, seconds=65)]
    assert verdicts(report.check_slow(killed(1000), "api-1", True)) == [False, False]
    for at, seen in ((1000, [None, None]), (1012, [None, None]), (1050, [True, None]), (1062, [True, True])):
        assert verdicts(report.check_slow(killed(at), "api-1", True, ["api-2"])) == seen, at
    assert verdicts(report.check_slow(records(0.1), "api-1", True, ["api-3"])) == [True, True]


def test_who_ended_is_named():
    assert report.check_success(records(0.1), ["api-2"]).text.endswith(" 0 not (api-2 ended meanwhile)")


def test_one_failed_request_fails():
    some = records(0.1)
    assert report.check_success(some).holds
    some[7].update(ok=False, error="no")
    assert not report.check_success(some).holds
    assert not report.check_success([]).holds


def test_a_failure_counts_on_the_edges_that_it_needed():
    figures = report.edge_figures([{"id": 1, "kind": "order", "t": 1, "ok": False, "ms": 9.0, "edges": {}}])
    assert (figures["api", "store"].count, figures["api", "store"].good) == (1, 0)
    assert figures["api", "mail"].count == 0


def test_an_idle_edge_fails():
    assert not report.check_traffic(report.edge_figures(records(0.1))).holds  # no mail in it


def test_a_late_greeting_fails():
    def figures(ms):
        return report.edge_figures([{"id": 1, "kind": "mail", "t": 1, "ok": True, "ms": 9.0, "edges": {"mail": ms}}])
    assert report.check_greeting(figures(1.0), figures(20.9)).holds
    assert not report.check_greeting(figures(1.0), figures(21.1)).holds
