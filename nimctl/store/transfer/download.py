"""One file on its way: what is there, who fetches what, and when to begin anew."""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nimctl.core.errors import DiskFullError, VerificationError
from nimctl.core.facts import File
from nimctl.store import fast_zlib
from nimctl.store.transfer.answers import Ask, Body
from nimctl.store.transfer.digests import PrefixHasher
from nimctl.store.transfer.failures import wrong_digest, wrong_size
from nimctl.store.transfer.follower import Following, MakeFollower
from nimctl.store.transfer.identity import Identity
from nimctl.store.transfer.local import clone, is_local, open_local
from nimctl.store.transfer.part import Part
from nimctl.store.transfer.ranges import Ledger, Mark, Range, complete, plan, range_length
from nimctl.store.transfer.route import Route
from nimctl.store.transfer.state import (
    State,
    can_go_on,
    may_be_complete,
    needs_receipt,
    transfer_id,
)


class Download:
    """The state of one file's transfer, shared by the threads that work on it.

    `files` have the same content, which is fetched once. In parallel, several workers have ranges
    of their own and the verifier hashes behind them. Otherwise one worker at a time reads on from
    where the file ends and hashes what it has in its hands.

    With `follow`, what the follower makes of the bytes is wanted in their place. `sha256` is what
    the file has, as far as that is known: from the registry, or from the receipt of an earlier run.
    """

    def __init__(
        self,
        files: Sequence[File],
        route: Route,
        range_bytes: int,
        follow: MakeFollower | None = None,
        *,
        id_: str | None = None,
        receipt: str | None = None,
    ) -> None:
        self.files = files
        self.file = files[0]
        self.id = id_ or transfer_id(self.file, is_followed=follow is not None)
        self.needs_receipt = follow is None and needs_receipt(self.file)
        self.sha256 = receipt if self.needs_receipt else self.file.sha256
        self.route = route
        self.size = self.file.size
        self.is_parallel = self.size is not None and self.size > range_bytes
        self.is_probed = False
        self.fetched_bytes = 0
        self.kept_bytes = 0
        self._part: Part | None = None
        self._range_bytes = range_bytes
        self._lock = threading.Lock()
        self.identity = Identity(self.file)
        self._is_restarting = False
        self._does_ranges = True
        self._is_guess = False
        self._is_second_try = False
        self._is_useless = False
        self._is_verified = False
        self._concluding = threading.Lock()
        self.following = Following(follow) if follow else None
        self._lay_out(State())

    @property
    def part(self) -> Part:
        """The open part file."""
        if self._part is None:
            raise ValueError("the download is not open")
        return self._part

    def open(self, path: Path) -> bool:
        """Open the part file and take over what an earlier run left there.

        Returns False while another process or thread has it.
        """
        self._part = part = Part.open(path)
        if part is None:
            return False
        state = part.load()
        if state is None and not self.is_parallel and may_be_complete(self.file, part.size):
            self._use(complete(part.size))
            self._is_guess = True
        elif state is not None and can_go_on(self.file, state):
            self.size = state.size if self.size is None else self.size
            self.identity.validator = state.validator
            self._lay_out(state)
        self.kept_bytes = self.ledger.done_bytes
        return True

    def use_local(self) -> bool:
        """Share the blocks of a local file, or use it where it is; returns whether that worked."""
        url = self.route.location.url
        if not is_local(url):
            return False
        if self.following:
            self.part.borrow(open_local(url))
        elif self.kept_bytes or not (
            clone(url, self.part.descriptor) or (self.route.is_cached and self.part.share(url))
        ):
            return False
        size = self._take_all()
        self.fetched_bytes, self.kept_bytes = (0, size) if self.route.is_cached else (size, 0)
        return True

    def borrow(self, url: str) -> None:
        """Read a local file where it is.

        Raises:
            NotFoundError: There is no such file, or it may not be read.
        """
        self.part.borrow(open_local(url))
        self.kept_bytes = self._take_all()

    def note_reused(self, size: int) -> None:
        """The store has it, so what is in the part file is of no use."""
        self.size = self.kept_bytes = size
        self._is_useless = True

    @property
    def result_bytes(self) -> int:
        """The size, once it is known for certain."""
        return self.fetched_bytes + self.kept_bytes if self.size is None else self.size

    def reserve(self) -> None:
        """Set the space aside.

        Raises:
            DiskFullError: The file will not fit.
        """
        if self.size is not None:
            self.part.reserve(self.size)

    def save(self, *, durably: bool) -> None:
        """Save what is there, so that another process can go on.

        Raises:
            DiskFullError: There is no room even for that.
        """
        self.part.save(self.state, durably=durably)

    def state(self) -> State:
        """What is there."""
        with self._lock:
            validator = self.identity.validator
            return State(size=self.size, validator=validator, pieces=self.ledger.pieces)

    def leave(self) -> None:
        """Save and close an unfinished file; on a full disk the state saved before has to do."""
        if self.following:
            self.following.close()
            self._is_useless |= self.following.has_refused
        is_worth_it = self.ledger.done_bytes and not self.part.is_borrowed
        if is_worth_it and not self._is_useless:
            with contextlib.suppress(DiskFullError):
                self.save(durably=False)
            self.part.close()
        else:
            self.part.discard()

    def staged(self, sha256: str) -> list[tuple[Path, str]]:
        """The verified files that are to be adopted, each with its sha256."""
        if self.following and self.following.made:
            return list(self.following.made.files)
        return [(self.part.staged_path, sha256)]

    def settle(self) -> None:
        """Close what was adopted.

        A file that was followed stays, complete, until its owner has noted down what came of it.
        """
        if self.following:
            self.leave()
        elif self.part.is_borrowed:
            self.part.discard()
        else:
            self.part.hand_over()

    def claim(self) -> Range | None:
        """The next range to fetch; None when there is none to be had now.

        The first answer has to show that the server does ranges before other workers join in. When
        all ranges are taken, slow ones are shared.
        """
        if not self.is_parallel and not self.ledger.is_idle:
            return None
        with self._lock:
            is_open_to_many = self.is_parallel and self.is_probed
            if self._is_restarting or not (is_open_to_many or self.ledger.is_idle):
                return None
            now = time.monotonic()
            claimed = self.ledger.next_free() or self.ledger.share(now)
            if claimed:
                claimed.take(now)
            return claimed

    def release(self, claimed: Range, received_bytes: int) -> bool:
        """Give a range back; returns whether the file is complete.

        The last to leave begins the file anew if that has to be.
        """
        with self._lock:
            claimed.taken_at = None
            self.fetched_bytes += received_bytes
            if self._is_restarting and self.ledger.is_idle:
                self._restart()
            return self.ledger.is_complete

    def is_wanted(self, claimed: Range) -> bool:
        """Whether there is still something to fetch for this range."""
        return not self._is_restarting and not claimed.is_complete

    def room(self, claimed: Range) -> int | None:
        """How many bytes are missing; others may take a share at any time, but not of the next."""
        with self._lock:
            return claimed.remaining

    def ask(self, claimed: Range) -> Ask:
        """What to ask the server for."""
        with self._lock:
            if not self._does_ranges and claimed.position > 0:
                self._rewind(claimed)
            is_part = claimed.position > 0 or claimed.end != self.size
            is_ranged = self.is_parallel or is_part
            return Ask(claimed.position, claimed.end, is_ranged, self.identity.condition)

    def accept(self, claimed: Range, ask: Ask, body: Body) -> bool:
        """Compare an answer with what is known; returns whether to read its body into `claimed`.

        Raises:
            VerificationError: The file has another size than the registry promised.
            NetworkError: The content changes again and no digest tells which is right.
        """
        with self._lock:
            if self._is_restarting:
                return False
            if body.total is not None and self.file.size not in (None, body.total):
                raise wrong_size(self.file.path, expected=self.file.size or 0, actual=body.total)
            if self.identity.is_other(body, self.size):
                self.identity.note_change()
                self._is_restarting = True
                return False
            if ask.ranged and not body.is_range:
                if self.is_parallel:
                    self.is_parallel = False
                    self._is_restarting = True
                    return False
                self._rewind(claimed)
            self._learn(body, claimed)
            return True

    def distrust_ranges(self) -> None:
        """Begin anew, in one stream, without asking for a range ever again."""
        with self._lock:
            self.is_parallel = False
            self._does_ranges = False
            self._is_restarting = True

    def write(self, claimed: Range, view: memoryview) -> None:
        """Put bytes where they belong.

        Raises:
            DiskFullError: They do not fit.
        """
        position = claimed.position
        self.part.write(view, position)
        done, crc32 = claimed.mark
        claimed.mark = Mark(done + len(view), fast_zlib.crc32(view, crc32))
        if not self.is_parallel:
            self.hasher.offer(view, position)

    def check_end(self, more_bytes: int) -> None:
        """Compare the end of the content with the size that is known.

        Raises:
            VerificationError: The content goes on behind it.
        """
        if more_bytes and self.size is not None:
            raise wrong_size(self.file.path, expected=self.size, actual=self.size + more_bytes)

    def end_stream(self, claimed: Range) -> None:
        """Note that the content ended, when nothing had told where it would."""
        with self._lock:
            claimed.end = self.size = claimed.position

    def conclude(self, is_stopping: Callable[[], bool]) -> str | None:
        """Compare the digests of the complete file; returns its sha256.

        None means that bytes have to be fetched again: kept ones were damaged on the disk, or the
        whole is wrong for the first time.

        Raises:
            VerificationError: It is wrong for the second time.
        """
        with self._concluding:
            if self._is_verified:
                return None  # another thread has its result
            self.hasher.catch_up(self.part, is_stopping)
            if self.hasher.position != self.size:
                return None
            wrong = self._wrong_digest()
            if wrong is not None:
                self._try_again(wrong)
                return None
            if self.following:
                self.following.finish()
            else:
                self.part.truncate(self.size)
            self._is_verified = True
            return self.hasher.results()["sha256"]

    def _try_again(self, wrong: VerificationError) -> None:
        if self._is_second_try:
            self._is_useless = True
            raise wrong
        self._is_second_try = not self._is_guess and not self.route.distrust_cache()
        with self._lock:
            self._restart()

    def _wrong_digest(self) -> VerificationError | None:
        results = self.hasher.results()
        if "git-sha1" in self.file.digests and "git-sha1" not in results:
            # The size, which comes first in a Git blob, was not known when hashing began.
            self._new_hasher()
            self.hasher.catch_up(self.part, lambda: False)
            results = self.hasher.results()
        return wrong_digest(self.file, results)

    def _learn(self, body: Body, claimed: Range) -> None:
        self.identity.validator = self.identity.validator or body.validator
        self.is_probed = True
        if self.size is None and body.total is not None:
            self.size = claimed.end = body.total
            self.part.reserve(self.size)
            if self.hasher.position == 0:
                self._new_hasher()

    def _rewind(self, claimed: Range) -> None:
        """Let the one worker of this file begin at its start."""
        claimed.start, claimed.end, claimed.mark = 0, self.size, Mark(0, 0)
        self._use(Ledger([claimed]))
        self._forget()

    def _restart(self) -> None:
        self._is_restarting = self._is_guess = self.is_probed = False
        self.identity.validator = None
        self.size = self.file.size
        self._lay_out(State())
        self._forget()

    def _forget(self) -> None:
        self.part.forget()
        self.kept_bytes = 0

    def _lay_out(self, state: State) -> None:
        length = None
        if self.is_parallel and self.size is not None:
            length = range_length(self.size, self._range_bytes)
        self._use(plan(self.size, state.pieces, length))

    def _take_all(self) -> int:
        self.size = self.part.size
        self._use(complete(self.size))
        return self.size

    def _use(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._new_hasher()

    def _new_hasher(self) -> None:
        pass_on = self.following.begin() if self.following else None
        self.hasher = PrefixHasher(self.file.digests, self.size, self.ledger, self._drop, pass_on)

    def _drop(self, bad: Range) -> None:
        """Fetch again what does not have the checksum any more that it was saved with.

        A range from before a restart is emptied too, or its hasher would try it for ever. Who
        follows has had the bad bytes already, and begins anew.
        """
        with self._lock:
            is_current = bad in self.ledger.ranges
            if is_current:
                self.kept_bytes -= bad.mark.done
            bad.mark = Mark(0, 0)
            bad.is_kept = False
            if self.following and is_current:
                self._new_hasher()
