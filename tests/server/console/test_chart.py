import itertools

import pytest

from kochava_segment.server.console.chart import HEIGHT, make_chart


def _chart(*counts):
    return make_chart({"accepted": counts, "failed": [0] * len(counts)}, since=0, span=60)


@pytest.mark.parametrize(
    "most", [0, 1, 3, 4, 5, 9, 11, 12, 13, 19, 21, 100, 101, 999, 1_001, 12_345, 987_654_321]
)
def test_the_scale_holds_the_most_and_has_whole_numbers(most):
    chart = _chart(most, 0)
    labels = [int(tick.label.replace(",", "")) for tick in chart.ticks]
    assert labels[0] == 0
    assert labels[-1] >= most
    assert labels[-1] <= max(4, 2 * most)
    steps = {after - before for before, after in itertools.pairwise(labels)}
    assert len(steps) == 1


def test_bars_are_stacked_without_overlap_and_as_high_as_they_count():
    chart = make_chart({"accepted": [30], "filtered": [0], "failed": [10]}, since=0, span=60)
    accepted, failed = chart.bars[0].boxes
    assert (accepted.series, failed.series) == ("accepted", "failed")
    assert accepted.y + accepted.height == pytest.approx(HEIGHT)
    assert failed.y + failed.height == pytest.approx(accepted.y)
    assert accepted.height == pytest.approx(3 * failed.height)


def test_one_among_very_many_is_still_seen():
    chart = make_chart({"accepted": [1_000_000], "failed": [1]}, since=0, span=60)
    assert chart.bars[0].boxes[1].height >= 0.5
    assert all(box.y >= 0 for box in chart.bars[0].boxes)


def test_bars_are_named_by_when_they_begin():
    chart = _chart(1, 2, 3)
    assert [bar.label for bar in chart.bars] == ["00:00", "00:01", "00:02"]
    assert [bar.total for bar in chart.bars] == [1, 2, 3]
    assert chart.totals == {"accepted": 6, "failed": 0}
