"""What is closed at the end of a `with` block."""

from typing import Self


class Closing:
    """Base of what holds something open."""

    def close(self) -> None:
        """Let go of what is held."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
