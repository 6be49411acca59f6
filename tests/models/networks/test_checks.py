import pytest

from configs.errors import UsageError
from models.networks.checks import require_size, require_widths


def test_as_many_widths_as_the_network_has_pass():
    assert require_widths("nin", [1, 2], (3, 4)) == (1, 2)


@pytest.mark.parametrize("widths", [(), (1,), (1, 2, 3)])
def test_another_number_of_widths_names_the_number_wanted(widths):
    with pytest.raises(UsageError, match=r"nin takes 2 widths, not \d; its own are 3 4"):
        require_widths("nin", widths, (3, 4))


def test_the_smallest_image_passes_and_one_pixel_less_does_not():
    require_size("nin", (3, 8, 8), 8)
    for size in ((3, 7, 8), (3, 8, 7)):
        with pytest.raises(UsageError, match="at least 8 x 8"):
            require_size("nin", size, 8)
