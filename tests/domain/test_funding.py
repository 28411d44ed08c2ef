"""The recorded settlements decide when funding is paid; the grid stands in only where the record has a hole."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from src.domain.funding import HOUR_MS, USUAL_RATE, FundingRecord, settled_ms

EIGHT, DAY = 8 * HOUR_MS, 24 * HOUR_MS


def hours(record, first, last, every=EIGHT):
    return [instant // HOUR_MS for instant in record.between(first * HOUR_MS, last * HOUR_MS, every)]


def of(*instants):
    return FundingRecord({hour * HOUR_MS: 0.001 * place for place, hour in enumerate(instants, 1)})


def test_without_a_record_the_grid_counts():
    assert hours(FundingRecord(), 0, 25) == [0, 8, 16, 24]
    assert hours(FundingRecord(), 1, 13, 4 * HOUR_MS) == [4, 8, 12]
    assert FundingRecord().rate(EIGHT) == USUAL_RATE


def test_recorded_instants_off_the_grid_count_whatever_the_contract_s_interval():
    assert hours(of(80, 82, 84, 86, 88), 80, 89) == [80, 82, 84, 86, 88]
    assert hours(of(72, 80, 83, 88), 70, 90) == [72, 80, 83, 88]


def test_a_record_of_eight_hours_is_not_thinned_or_thickened_by_a_newer_interval():
    assert hours(of(72, 80, 88, 96), 72, 97, 4 * HOUR_MS) == [72, 80, 88, 96]
    assert hours(of(72, 76, 80, 84, 88), 72, 89, EIGHT) == [72, 76, 80, 84, 88]


def test_a_hole_is_filled_from_the_grid_at_the_usual_rate():
    record = of(72, 80, 120)
    assert hours(record, 72, 137) == [72, 80, 88, 96, 104, 112, 120, 128, 136]
    assert record.rate(88 * HOUR_MS) == USUAL_RATE and record.rate(80 * HOUR_MS) == 0.002


def test_the_rate_shown_before_a_settlement_is_that_of_the_next():
    assert of(72, 80).rate(75 * HOUR_MS) == 0.002
    assert of(72, 80).rate(60 * HOUR_MS) == USUAL_RATE, "more than an interval away: nothing is known"


def test_stamps_are_some_milliseconds_late():
    assert settled_ms(1_789_459_200_005) == 1_789_459_200_000


@given(
    st.sets(st.integers(0, 400), max_size=60), st.sampled_from([1, 2, 4, 8]), st.integers(0, 380), st.integers(0, 60)
)
def test_every_recorded_instant_is_a_settlement_and_holes_are_filled(recorded, every, first, span):
    record = FundingRecord({hour * HOUR_MS: 0.0 for hour in recorded})
    found = hours(record, first, first + span, every * HOUR_MS)
    assert found == sorted(set(found))
    assert {hour for hour in recorded if first <= hour < first + span} <= set(found)
    assert all(later - earlier < 24 for earlier, later in pairwise(found))
    assert all(
        record.is_settlement(hour * HOUR_MS, every * HOUR_MS) == (hour in found) for hour in range(first, first + span)
    )
