import numpy as np

from models.pruning.flow.labels import FIXED, STAYS, Ledger
from models.pruning.flow.views import joined, parted, reshaped


def atoms(first, count):
    return np.arange(first, first + count)


def test_split_channels_keep_the_position_within_each_group():
    ledger = Ledger(count=13)
    found = reshaped(ledger, (FIXED, atoms(1, 12)), (2, 12), (2, 3, 4), "view")
    assert found[:2] == (FIXED, FIXED)
    assert found[2].tolist() == [1, 2, 3, 4]
    assert ledger.components()[1:].tolist() == [1, 2, 3, 4] * 3


def test_what_was_flattened_is_split_again_without_new_ties():
    ledger = Ledger(count=4)
    labels = (FIXED, atoms(1, 3), FIXED, FIXED)
    flat = reshaped(ledger, labels, (2, 3, 4, 5), (2, 60), "flatten")
    again = reshaped(ledger, flat, (2, 60), (2, 3, 20), "view")
    assert again[1].tolist() == [1, 2, 3]
    batched = reshaped(ledger, labels, (2, 3, 4, 5), (1, 6, 4, 5), "view")  # as instance norm does
    assert batched[1].tolist() == [1, 2, 3, 1, 2, 3]
    assert reshaped(ledger, batched, (1, 6, 4, 5), (2, 3, 4, 5), "view")[1].tolist() == [1, 2, 3]
    assert ledger.ties == []


def test_of_two_dimensions_with_atoms_that_are_joined_one_stays():
    ledger = Ledger(count=8)
    found = reshaped(ledger, (atoms(1, 3), atoms(4, 4)), (3, 4), (12,), "flatten")
    assert found[0].tolist() == [4, 5, 6, 7] * 3
    assert ledger.components()[1:4].tolist() == [STAYS] * 3


def test_parts_and_joins():
    ledger = Ledger(count=10)
    assert joined([atoms(1, 2), FIXED], [2, 1]).tolist() == [1, 2, STAYS]
    assert joined([FIXED, FIXED], [2, 1]) is FIXED
    assert [part.tolist() for part in parted(ledger, atoms(1, 4), [1, 3])] == [[1], [2, 3, 4]]
    assert ledger.ties == []
