"""Progress bars on a narrow screen."""

import io

from nimctl.cli.progress import Bars
from nimctl.core.events import Progressed, Started


def test_each_bar_is_one_line_of_eighty_columns_with_whole_figures() -> None:
    screen = io.StringIO()
    name = "ngc://nim/meta/llama-3.1-8b-instruct:h100x1-fp8-throughput.1.3.18303184, 26 files"
    with Bars(screen) as bars:
        bars(Started(task="all", title=name, total=16 * 2**30, parent=None))
        bars(Progressed(task="all", done=1_234_567_890))
    (line,) = screen.getvalue().splitlines()
    assert len(line) <= 80
    assert line.startswith("ngc://nim/meta/")
    assert "1.1/16.0 GiB" in line
