"""The simulation of a day (`make scaling`): nothing is lost on the way, and a case that can be counted by hand."""

from __future__ import annotations

import pytest

from benchmarks import scaling
from benchmarks.scaling import Day, Scenario, Station
from config import PROJECT_ROOT

SMALL = Scenario("two firms", 2, 500, 10, 2, 2)
LARGE = Scenario("too much of everything", 1, 2_000_000, 20_000, 1, 1)


def test_a_hundred_webhooks_at_twenty_a_minute_are_through_in_the_fifth_minute() -> (
    None
):
    station = Station("EspoCRM's webhooks", 20)
    done = [station.minute(0, {"edit": 100})]
    done += [station.minute(minute, {}) for minute in range(1, 6)]
    assert done == [{"edit": 20}] * 5 + [{}]
    assert station.longest_wait == 4
    assert station.most_waiting == 80
    assert station.left == 0
    assert station.busiest == pytest.approx(100 / (60 * 20))


def test_a_cron_takes_its_share_when_it_runs_and_in_order() -> None:
    station = Station("cron", per_minute=10, every=15)
    assert station.minute(1, {"old": 100, "new": 100}) == {}
    assert station.minute(15, {}) == {"old": 100, "new": 50}
    assert station.left_of("new") == 50


def test_what_takes_longer_leaves_less_space() -> None:
    station = Station("workers", 60)
    assert station.minute(0, {"record": 100}, {"record": 2.0}) == {"record": 30}
    assert station.busiest == pytest.approx(100 * 2 / (60 * 60))


@pytest.mark.parametrize("scenario", [SMALL, LARGE], ids=["small", "large"])
def test_what_arrives_is_done_or_waits(scenario: Scenario) -> None:
    stations = Day(scenario).run()
    for station in stations:
        assert station.arrived == pytest.approx(station.done + station.left)
    espocrm, check, engine, worker, account, project = stations
    calendar_jobs = engine.arrived - espocrm.done - check.done
    assert worker.arrived == pytest.approx(engine.done)
    assert project.arrived == pytest.approx(account.done)
    assert account.arrived <= calendar_jobs + 1e-3


def test_a_day_of_twenty_calendars_counts_as_by_hand() -> None:
    stations = Day(Scenario("", 1, 0, 20, 1, 1)).run()
    account = stations[4]
    # 96 sweeps of 20 calendars with a call each, and five changed appointments of each.
    assert account.arrived == pytest.approx(96 * 20 + 5 * 20)
    assert account.left == 0


def test_ten_thousand_calendars_are_more_than_googles_quota() -> None:
    scenario = Scenario("", 1, 0, 10_000, 2, 2)
    account = Day(scenario).run()[4]
    assert account.busiest > 1
    assert account.done == pytest.approx(account.per_minute * scaling.MINUTES, rel=0.02)
    assert account.longest_wait >= 10_000 / 500 - 1


def test_the_documents_marks_are_there() -> None:
    text = (PROJECT_ROOT / "docs" / "scaling.md").read_text("utf-8")
    assert text.count(scaling.BEGIN) == text.count(scaling.END) == 1
    for scenario in scaling.SCENARIOS:
        assert f"### {scenario.name}" in text
