import torch
from torch.nn import functional as F

from flow_labels import labelled, together
from models.pruning.flow.labels import FIXED


def test_what_is_added_leaves_together_and_what_is_broadcast_does_not():
    ledger, (first, second), _ = labelled(lambda x, y: x + y, (3, 4), (4,))
    rows, columns, other = together(ledger, *first, *second)
    assert columns == other
    assert set(rows).isdisjoint(columns)


def test_a_linear_layer_reads_its_inputs_and_writes_its_outputs():
    ledger, (image, weight, bias), found = labelled(F.linear, (2, 4), (3, 4), (3,))
    assert together(ledger, image[1]) == together(ledger, weight[1])
    assert together(ledger, found[1]) == together(ledger, weight[0]) == together(ledger, bias[0])


def test_products_of_matrices_and_vectors_tie_what_they_sum_over():
    for function, shapes in [
        (torch.matmul, [(2, 3, 4), (2, 4, 5)]),
        (torch.mv, [(3, 4), (4,)]),
        (torch.dot, [(4,), (4,)]),
    ]:
        ledger, (first, second), _ = labelled(function, *shapes)
        assert together(ledger, first[-1]) == together(ledger, second[-2 if len(second) > 1 else -1])


def test_normalisations_tie_their_tensors_to_the_channels():
    def norm(image, mean, var, weight):
        return F.batch_norm(image, mean, var, weight)

    ledger, labels, found = labelled(norm, (2, 4, 5, 5), (4,), (4,), (4,))
    assert (
        len({tuple(together(ledger, label)[0]) for label in (labels[0][1], found[1], *(own[0] for own in labels[1:]))})
        == 1
    )
    ledger, (image, weight), _ = labelled(lambda x, w: F.layer_norm(x, (4,), w), (2, 4), (4,))
    assert together(ledger, image[1]) == together(ledger, weight[0])


def test_reductions_drop_dimensions_and_pools_keep_channels():
    _, (own,), found = labelled(lambda x: x.mean((0, 2)), (2, 4, 3))
    assert found == (own[1],)
    _, (own,), found = labelled(lambda x: x.amax(1, keepdim=True), (2, 4))
    assert found == (own[0], FIXED)
    _, (own,), found = labelled(lambda x: F.max_pool2d(x, 2), (2, 4, 6, 6))
    assert found[1] is own[1]


def test_what_is_copied_into_an_empty_tensor_stays():
    def filled(x):
        both = torch.zeros(4)
        both[:] = x
        return both

    ledger, (own,), _ = labelled(filled, (4,))
    assert together(ledger, own[0]) == [[0] * 4]
