"""One fetch from its beginning to its end, whatever that is."""

from collections.abc import Sequence

from nimctl.core.events import Emit
from nimctl.store.blobs import BlobStore
from nimctl.store.transfer.client import Network
from nimctl.store.transfer.crew import Crew
from nimctl.store.transfer.download import Download
from nimctl.store.transfer.keeper import Keeper
from nimctl.store.transfer.progress import Reporter
from nimctl.store.transfer.queue import Queue
from nimctl.store.transfer.rate import TokenBucket
from nimctl.store.transfer.receipts import Receipts
from nimctl.store.transfer.verifier import Verifier
from nimctl.store.transfer.worker import Worker

_REPORT_EVERY_S = 0.1
_LEAVE_WITHIN_S = 0.9


def run(
    downloads: Sequence[Download],
    blobs: BlobStore,
    network: Network,
    receipts: Receipts,
    emit: Emit,
) -> dict[str, tuple[Download, str]]:
    """Bring all downloads into the store; returns each with its sha256, by transfer id.

    The calling thread reports and can be interrupted; the others work. Ended early, all that is
    there is saved.
    """
    queue = Queue(downloads)
    reporter = Reporter(queue, emit)
    crew = Crew(queue.fail)
    try:
        keeper = Keeper(queue, blobs, receipts, network.options.checkpoint_s)
        _begin(queue, crew, network, blobs)
        crew.start("transfer-keeper", keeper.run)
        while not queue.stopping.wait(_REPORT_EVERY_S):
            reporter.report()
    finally:
        queue.stop()
        crew.disband(_LEAVE_WITHIN_S, queue.leave)
    if queue.failure:
        raise queue.failure
    reporter.report()
    return queue.settled


def _begin(queue: Queue, crew: Crew, network: Network, blobs: BlobStore) -> None:
    options = network.options
    bucket = TokenBucket(options.max_rate) if options.max_rate else None
    wanted = sum(options.connections if one.is_parallel else 1 for one in queue.waiting())
    for number in range(min(options.connections, wanted)):
        crew.start(f"transfer-{number}", Worker(queue, network, blobs, bucket).run)
    crew.start("transfer-verifier", Verifier(queue).run)
