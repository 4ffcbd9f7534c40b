"""What a person sees at a terminal: its width, and how to leave."""

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Sequence

from conftest import Run

from nimctl.cli.render import fitted


def on_a_screen(argv: Sequence[str], environ: dict[str, str], *, columns: int) -> str:
    """What a command prints on a terminal of that width."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (40, columns))
    subprocess.run([sys.executable, "-m", "nimctl", *argv], env=environ, stdout=its, check=True)
    os.close(its)
    with os.fdopen(ours, "rb") as screen:
        return screen.read1().decode().replace("\r\n", "\n")


def test_ps_fits_a_narrow_screen_and_gives_a_script_everything(
    run: Run, environ: dict[str, str]
) -> None:
    run("serve", "capitals-demo", "--detach", "--port", "auto", "--name", "mine")
    narrow = on_a_screen(["ps"], environ, columns=80).splitlines()
    assert len(narrow) == 2
    assert max(map(len, narrow)) <= 80
    assert "ENDPOINT" in narrow[0]
    assert "STATE" in narrow[0]
    assert "PROFILE" in on_a_screen(["ps"], environ, columns=160)
    assert "PROFILE" in run("ps").out


def test_the_columns_that_matter_least_are_left_out_first() -> None:
    header, row = ("NAME", "PROFILE", "STATE"), ("a", "p" * 40, "ready")
    assert fitted(header, [row], ["PROFILE"], 80)[0].split() == ["NAME", "PROFILE", "STATE"]
    assert fitted(header, [row], ["PROFILE"], 20) == ["NAME  STATE", "a     ready"]
    assert max(map(len, fitted(header, [row], [], 20))) > 20


def test_ctrl_c_ends_a_log_that_is_followed_without_a_word(
    run: Run, environ: dict[str, str]
) -> None:
    run("serve", "capitals-demo", "--detach", "--port", "auto", "--name", "mine")
    child = subprocess.Popen(
        [sys.executable, "-m", "nimctl", "logs", "--follow", "mine"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (130, "")
