"""Files of weights, looked into before anything loads them.

Safetensors have their headers checked. Pickles, which may run code when they are loaded, are walked
opcode by opcode and never unpickled: as they are, in torch's zip archives and its older sequences,
in NeMo's tar archives, in NumPy's arrays of objects. Nothing is unpacked to disk; what a file may
cost is bounded (`ScanLimits`).

One way: `inspection` -> `kinds` -> `zips`, `tars`, `arrays` -> `pickles` -> `machine` (the stack)
-> `opcodes`; `imports` is the list of what weights need.
"""

from nimctl.core.findings import Finding
from nimctl.store.formats.budget import ScanLimits
from nimctl.store.formats.inspection import inspect_file

__all__ = ["Finding", "ScanLimits", "inspect_file"]
