"""Photographs, digits and configs for tests of launch.bench."""

from data_pipes.sources import source
from data_pipes.spec import AugmentSpec, DataSpec
from launch.bench import loader
from launch.bench.config import LoaderConfig

EVERY = AugmentSpec(
    crop_scale=(0.5, 1.0), horizontal_flip=0.5, vertical_flip=0.5, rotation=30, affine=10, shear=5, zoom=(0.9, 1.1),
    translate=(0.1, 0.1), erase=0.5, mixup=1.0,
)  # fmt: skip


RECIPE = AugmentSpec(crop_scale=(0.7, 1.0), horizontal_flip=0.5, vertical_flip=0.5, rotation=180, affine=30)


PADDED = AugmentSpec(crop_padding=2, horizontal_flip=0.5)


def photo_spec(root, augment=EVERY, channels=3) -> DataSpec:
    shape = {"mean": (0.5, 0.4, 0.3)[:channels], "std": (0.2,) * channels, "image_size": (32, 40)}
    return DataSpec(source="folder", root=str(root), threads=2, augment=augment, **shape)


DIGITS = DataSpec(source="digits", image_size=(8, 8), mean=(0.3,), std=(0.37,), threads=1, augment=PADDED)


def config(spec: DataSpec, **changes) -> LoaderConfig:
    return LoaderConfig(data=spec, **{"batch_size": 4, "rounds": 2, "images": 16, "seconds": 0.0, **changes})


def work_of(spec: DataSpec, **changes):
    return loader.make_work(config(spec, **changes), source.load(spec, "train"))
