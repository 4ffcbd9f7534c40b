"""An interrupt waits until what was asked for can be taken back."""

import threading

import pytest

from nimctl.attended import attended


def test_the_result_of_work_is_returned_and_its_error_raised() -> None:
    assert attended(lambda: 3, lambda: None) == 3
    with pytest.raises(ZeroDivisionError):
        attended(lambda: 1 // 0, lambda: None)


def test_an_interrupt_is_raised_when_the_work_has_been_given_up() -> None:
    made, gone = [], threading.Event()

    def work() -> None:
        made.append("container")
        # The main thread is interrupted while this goes on.
        threading.Thread(target=interrupt).start()
        gone.wait(60)
        made.append("another")

    def interrupt() -> None:
        import _thread  # noqa: PLC0415 - the one function that interrupts the main thread

        _thread.interrupt_main()

    def give_up() -> None:
        made.clear()
        gone.set()

    with pytest.raises(KeyboardInterrupt):
        attended(work, give_up)
    assert made == []


def test_giving_up_goes_on_until_the_work_ends() -> None:
    given_up: list[int] = []
    enough = threading.Event()

    def work() -> None:
        import _thread  # noqa: PLC0415 - the one function that interrupts the main thread

        _thread.interrupt_main()
        enough.wait(60)

    def give_up() -> None:
        given_up.append(1)
        if len(given_up) == 3:
            enough.set()

    with pytest.raises(KeyboardInterrupt):
        attended(work, give_up)
    assert len(given_up) >= 3
