"""The transfer engine: verified, resumable, parallel downloads into the blob store."""

from nimctl.store.transfer.options import TransferOptions
from nimctl.store.transfer.transfer import Transfer

__all__ = ["Transfer", "TransferOptions"]
