import statistics

import pytest

from benchmarks.drivers import PEERS
from benchmarks.messages import BYTES_MAX, BYTES_MIN, history, texts, turn
from benchmarks.results import FLOOR, MORE_IS_BETTER, OURS, Figure, Results, Verdict, best, percentile, ratio, shown
from benchmarks.targets import AGAIN, COLD, PROCESSES, SAVE, TASKS, judge

DURABLE = {peer.name: peer.durable for peer in PEERS}


def _results(*figures: Figure) -> Results:
    return Results("2026-11-22T12:00:00+00:00", quick=True, machine={}, versions={}, figures=list(figures))


def _verdicts(*figures: Figure) -> dict[tuple[str, str | None], Verdict]:
    return {(verdict.target, verdict.against): verdict for verdict in judge(_results(*figures), DURABLE)}


def test_a_ratio_is_taken_round_by_round() -> None:
    """A round in which the whole machine was slow doesn't change a ratio."""
    calm = Figure("c", OURS, "ms", (2.0, 2.0, 20.0)), Figure("c", FLOOR, "ms", (1.0, 1.0, 10.0))
    assert ratio(*calm) == 2.0
    assert ratio(Figure("c", OURS, "ms", (3.0, 8.0, 8.0)), Figure("c", "agno", "ms", (1.0,))) == 3.0


def test_the_best_is_the_fastest() -> None:
    """Less is better, except for throughput; of nothing there is no best."""
    times = [Figure("c", name, "ms", (value,)) for name, value in (("agents", 2.0), ("agno", 1.0))]
    rates = [Figure("c", name, MORE_IS_BETTER, (value,)) for name, value in (("agents", 2.0), ("agno", 1.0))]
    assert best(times) is times[1]
    assert best(rates) is rates[0]
    assert best([]) is None


@pytest.mark.parametrize(("percent", "value"), [(0, 1.0), (50, 50.0), (99, 99.0), (100, 100.0)])
def test_a_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    """So many percent of the values are at most the one that is returned."""
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0421, "ms", "42.1 µs"),
        (0.42, "ms", "0.42 ms"),
        (1240.4, MORE_IS_BETTER, "1,240 turns/s"),
        (12_345, "ms", "12.3 s"),
        (2_500, "µs", "2.50 ms"),
        (1 / 200, "×", "1/200 ×"),
        (1.26, "×", "1.26 ×"),
    ],
)
def test_figures_are_shown_in_a_fitting_unit(value: float, unit: str, text: str) -> None:
    """Three digits that matter, in the unit that a reader expects."""
    assert shown(value, unit) == text


def test_a_target_against_the_floor_is_a_ratio() -> None:
    """Met up to the bound, missed beyond it."""
    floor = Figure(SAVE, FLOOR, "ms", (1.0,), 10)
    met = _verdicts(Figure(SAVE, OURS, "ms", (1.4,), 10), floor)["≤ 1.4 × the floor", FLOOR]
    missed = _verdicts(Figure(SAVE, OURS, "ms", (1.5,), 10), floor)["≤ 1.4 × the floor", FLOOR]
    assert (met.met, missed.met) == (True, False)
    assert missed.measured == pytest.approx(1.5)


def test_throughput_has_to_be_at_least_the_bound() -> None:
    """A target of throughput is missed below its bound."""
    case = TASKS[16]
    mine = Figure(case, OURS, MORE_IS_BETTER, (600.0,))
    assert not _verdicts(mine, Figure(case, FLOOR, MORE_IS_BETTER, (1000.0,)))["≥ 0.65 × the floor", FLOOR].met
    assert _verdicts(mine, Figure(case, "agents", MORE_IS_BETTER, (50.0,)))["≥ 10 × the fastest peer", "agents"].met


def test_writes_are_compared_with_durable_peers_only() -> None:
    """A peer that never calls fsync isn't the fastest one where a turn has to be durable, but may be in reading."""
    figures = [
        Figure(case, name, "ms", (value,), 1_000)
        for case in (SAVE, COLD)
        for name, value in ((OURS, 1.0), ("strands", 0.5), ("agents", 2.0))
    ]
    assert {name for name, durable in DURABLE.items() if not durable} == {"strands"}
    against = {verdict.case: verdict.against for verdict in judge(_results(*figures), DURABLE)}
    assert against == {SAVE: "agents", COLD: "strands"}


def test_a_limit_needs_nobody_else() -> None:
    """A target in a unit of its own is judged by the figure alone."""
    verdict = _verdicts(Figure(AGAIN, OURS, "µs", (21.0,), 10))["≤ 20 µs", None]
    assert (verdict.met, verdict.measured, verdict.unit) == (False, 21.0, "µs")


def test_the_longest_history_is_compared_with_the_shortest() -> None:
    """Only the largest size is, and only if there are two."""
    short, middle, long = (
        Figure(SAVE, OURS, "ms", (value,), size) for value, size in ((1, 10), (9, 100), (1.05, 1_000))
    )
    verdicts = [v for v in judge(_results(short, middle, long), DURABLE) if v.target == "≤ 1.1 × the shortest"]
    assert [(verdict.size, verdict.met) for verdict in verdicts] == [(1_000, True)]
    assert not list(judge(_results(short), DURABLE))


def test_nothing_is_judged_that_was_not_measured() -> None:
    """Without figures of ours there is no verdict, met or missed."""
    assert not _verdicts(Figure(PROCESSES, "agents", MORE_IS_BETTER, (1.0,)))


def test_made_up_texts_are_the_same_each_time_and_of_about_500_bytes() -> None:
    """Runs can be compared: the texts don't change, and their lengths are those of real conversations."""
    source = texts()
    assert source == texts()
    assert all(BYTES_MIN <= len(text.encode()) <= BYTES_MAX for text in source)
    assert statistics.mean(map(len, source)) == pytest.approx(466, rel=0.05)
    assert history(source, 3) == [*turn(source, 0), turn(source, 1)[0]]
