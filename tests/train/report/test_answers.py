"""What networks answer: counts, mistakes, disagreements. N images, K classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

import reference
from data_pipes.spec import DataSpec
from train.report import answers

SPEC = DataSpec(source="digits", image_size=(8, 8), mean=(0.5,), std=(0.5,), executor="host", threads=1)


def samples(count: int = 6, side: int = 8):
    return reference.in_memory([reference.noise(side, side, 1, i) for i in range(count)])


def sure(*classes: int, certainty: float = 0.9) -> torch.Tensor:
    """Probabilities N x 3 of answers."""
    rows = torch.full((len(classes), 3), (1 - certainty) / 2)
    rows[range(len(classes)), list(classes)] = certainty
    return rows


def test_counts_are_of_labels_and_answers() -> None:
    found = answers._record(samples(), sure(0, 1, 2, 0, 1, 0), None)  # labels 0 1 2 0 1 2
    assert found["network"]["confusion"] == [[2, 0, 0], [0, 2, 0], [1, 0, 1]] and found["network"]["correct"] == 5
    assert found["network"]["per_class"][2] == {"correct": 1, "samples": 2}
    assert found["teacher"] is found["agreed"] is None and found["disagreements"] == []


def test_mistakes_come_most_certain_first_and_disagreements_are_others() -> None:
    own = torch.cat([sure(1, certainty=0.6), sure(0, 1, certainty=0.8), sure(0, 1, 2)])  # mistakes: rows 0, 1 and 2
    theirs = sure(0, 1, 2, 1, 1, 2)  # apart on rows 0 to 3
    found = answers._record(samples(), own, theirs)
    assert [shown["row"] for shown in found["mistakes"]] == [1, 2, 0] and found["agreed"] == 2
    assert [shown["row"] for shown in found["disagreements"]] == [3]
    first = found["mistakes"][0]
    assert (first["image"], first["label"]) == ("1", "class 1")
    assert first["network"][0]["class"] == "class 0" and len(first["teacher"]) == 3
    assert first["network"][0]["probability"] == 0.8


def test_no_more_are_shown_than_fit() -> None:
    many = samples(30)
    wrong = torch.from_numpy(many.label_N + 1) % 3
    found = answers._record(many, sure(*wrong.tolist()), None)
    assert len(found["mistakes"]) == answers.SHOWN


def test_batches_are_all_images_in_their_order() -> None:
    few = samples(answers.BATCH + 3)
    loader = answers.batches(few, SPEC)
    rows = torch.cat([batch.index_B[batch.weight_B > 0] for batch in loader.epoch(0)])
    loader.close()
    assert rows.tolist() == list(range(len(few)))


def test_thumbnails_of_small_networks_are_exact_and_of_larger_ones_large() -> None:
    small = answers._thumbnails(samples(), SPEC, np.array([1, 4]))
    assert list(small) == ["1", "4"] and small["1"][1:] == (8, 8) and small["1"][0].startswith(b"\x89PNG")
    wide = replace(SPEC, image_size=(60, 80))
    content, width, height = answers._thumbnails(samples(2, 100), wide, np.array([0]))["0"]
    assert (width, height) == (112, 84) and content.startswith(b"\xff\xd8")
    assert answers._thumbnails(samples(), SPEC, np.array([], np.int64)) == {}
