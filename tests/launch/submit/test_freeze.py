"""What is kept of a submission, and what another one may change."""

import pytest

from configs.errors import InputError
from submit_stubs import CONFIG, ROOT, SWEEP


def test_runs_read_the_config_that_was_submitted(site):
    site.submit()
    site.write("distill.yaml", CONFIG.replace("epochs: 16", "epochs: 17"))
    assert (site.folder / "sweep" / "config" / "0-distill.yaml").read_text() == CONFIG


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("distill.yaml", CONFIG.replace("epochs: 16", "epochs: 17")), "epochs was 16, is now 17"),
        (
            ("sweep.yaml", (SWEEP % "[1]").replace("distill.yaml,", "distill.yaml, --batch_size, '32',")),
            "batch_size was",
        ),
        (
            ("sweep.yaml", (SWEEP % "[1]").replace("distill.yaml,", "teacher.yaml,").replace("distill", "teacher")),
            "command was",
        ),
    ],
)
def test_another_base_is_refused_and_what_differs_is_named(site, change, named):
    site.submit()
    site.write("teacher.yaml", (ROOT / "configs" / "digits" / "teacher.yaml").read_text())
    kept = (site.folder / "sweep" / "sweep.json").read_text()
    site.write(*change)
    with pytest.raises(InputError, match=rf"^sweep holds another sweep; {named}"):
        site.submit()
    assert (site.folder / "sweep" / "sweep.json").read_text() == kept and len(site.arrays()) == 1


def test_a_comment_or_an_overridden_key_is_no_other_base(site):
    site.submit()
    site.write("distill.yaml", "# better\n" + CONFIG.replace("lr: 1e-2", "lr: 5e-2"))
    site.submit()
    assert len(site.arrays()) == 2


def test_a_folder_of_something_else_stays_as_it_is(site):
    (site.folder / "sweep").mkdir()
    site.write("sweep/thesis.tex", "")
    with pytest.raises(InputError, match=r"sweep holds thesis.tex and no sweep.json; choose a folder"):
        site.submit()
    assert [path.name for path in (site.folder / "sweep").iterdir()] == ["thesis.tex"]
