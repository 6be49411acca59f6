import numpy as np
import torch

from models.pruning.flow.labels import FIXED, UNIFORM, Ledger, Sharing, connected


def ledger(*lengths):
    made = Ledger()
    return made, [made.register(str(i), torch.zeros(length), 1)[0] for i, length in enumerate(lengths)]


def test_long_chains_and_separate_nodes_are_told_apart():
    order = np.random.default_rng(0).permutation(np.arange(1, 1001))
    found = connected(1500, order[:-1], order[1:])
    assert (found[order] == 1).all()
    assert found[0] == 0
    assert found[1001:].tolist() == list(range(1001, 1500))


def test_a_dimension_of_length_one_and_those_beyond_the_limit_have_no_atoms():
    made = Ledger()
    labels = made.register("w", torch.zeros(4, 1, 3), 2)
    assert [label is FIXED for label in labels] == [False, True, True]
    assert [(place, length) for place, _, length in made.places] == [(("w", 0), 4)]


def test_what_meets_a_fixed_length_stays_and_the_first_reason_is_kept():
    made, (one, two) = ledger(3, 3)
    assert made.merge([one, two], "never") is one
    assert made.merge([UNIFORM, one], "never") is one
    assert 0 not in made.components()[1:]
    made.merge([two, FIXED], "it meets a constant")
    made.stop(one, "later")
    assert set(made.components().tolist()) == {0}
    assert set(made.reasons().values()) == {"it meets a constant"}


def test_groups_leave_whole_unless_that_would_tie_everything():
    made, (one,) = ledger(6)
    made.sharings.append(Sharing("norm", None, one.reshape(3, 2), None))
    assert made.components()[1:].tolist() == [1, 1, 3, 3, 5, 5]
    made, (one,) = ledger(6)
    made.sharings.append(Sharing("norm", None, one.reshape(3, 2), None))
    made.tie(one[:2], one[2:4])
    made.tie(one[:2], one[4:])  # such as after a shuffle: whole groups would be everything
    assert made.components()[1:].tolist() == [1, 2, 1, 2, 1, 2]
    assert made.whole == {0: False}
