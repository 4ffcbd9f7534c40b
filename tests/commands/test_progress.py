"""Progress: bars on a narrow screen, lines elsewhere."""

import io

import pytest

from nimctl.cli.progress import Bars, Lines
from nimctl.core.events import Finished, Progressed, Started


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


def test_the_bars_that_move_stay_on_a_screen_of_twenty_four_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("COLUMNS", "80")
    screen = io.StringIO()
    with Bars(screen) as bars:
        bars(Started(task="all", title="191 files", total=191 * 2**30))
        for number in range(191):
            task = f"shard-{number:03}"
            bars(Started(task=task, title=task, total=2**30, parent="all"))
            bars(Progressed(task=task, done=2**29))
            if number >= 8:
                bars(Finished(task=f"shard-{number - 8:03}"))
    lines = screen.getvalue().splitlines()
    assert len(lines) <= 22
    assert lines[0].startswith("191 files")
    assert "187.0/191.0 GiB" in lines[0]
    assert [line.split()[0] for line in lines[-8:]] == [f"shard-{n}" for n in range(183, 191)]


def test_a_line_every_ten_seconds_tells_the_rate_of_what_comes_now() -> None:
    now_s, said = 0.0, io.StringIO()
    with Lines(said, clock=lambda: now_s) as lines:
        lines(Started(task="w", title="w.gguf", total=40 * 2**20))
        lines(Progressed(task="w", done=30 * 2**20))  # of an earlier run
        for now_s in range(1, 12):
            lines(Progressed(task="w", done=(30 * 2 + now_s) * 2**19))
    assert said.getvalue() == "w.gguf: 35.5 MiB of 40.0 MiB, 88 %, 512.0 KiB/s\n"
