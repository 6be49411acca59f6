"""Loads the splits of a folder in one of several processes and prints what this one did: started by test_loaders.py.

usage: file_ranks.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys

from data_pipes.sources import examination, file_states, folders, index_work
from data_pipes.sources.source import Source
from data_pipes.spec import DataSpec
from train.loaders import load_splits, load_test
from train.processes import make_accelerator

DONE = {"walks": 0, "looks": 0, "examined": 0}


def count(owner, name: str, what: str) -> None:
    """Count the calls of a function."""
    real = getattr(owner, name)

    def counted(*args, **kwargs):
        DONE[what] += 1
        return real(*args, **kwargs)

    setattr(owner, name, counted)


count(folders, "class_folders", "walks")
count(file_states, "digests", "looks")
count(examination, "examine", "examined")
index_work.FILES_PER_BLOCK = 2
accelerator = make_accelerator("float32")
found = Source(DataSpec(source="folder", root=sys.argv[1], image_size=(8, 8), mean=(0.5,) * 3, std=(0.5,) * 3))
splits = [*load_splits(accelerator, found), load_test(accelerator, found)]
pixels = [int(samples.read(0, channels=3).sum()) for samples in splits]
print(json.dumps({**DONE, "data": [samples.fingerprint for samples in splits], "pixels": pixels, "pid": os.getpid()}))
accelerator.end_training()
