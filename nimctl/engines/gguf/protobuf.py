"""Reading protocol buffers without their schema.

Wire format: https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections import defaultdict
from collections.abc import Iterator

_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_VARINT_BITS = 70
_CONTINUED = 0x80
_FLOAT_BYTES = 4


class WireError(ValueError):
    """The bytes are no protocol buffer, or a field has another type than asked for."""


class Message:
    """One message: its fields by number, each with the values in their order.

    Raises:
        WireError: From the constructor and from each method.
    """

    def __init__(self, data: bytes) -> None:
        self._values: dict[int, list[int | bytes]] = defaultdict(list)
        for number, value in _fields(data):
            self._values[number].append(value)

    def integer(self, number: int, default: int) -> int:
        """The last value of an integer, bool or enum field."""
        value = self._values[number][-1] if self._values[number] else default
        if not isinstance(value, int):
            raise WireError(f"field {number} is no integer")
        return value

    def floating(self, number: int) -> float:
        """The last value of a float field; 0 when there is none."""
        values = self._contents(number)
        if not values:
            return 0.0
        if len(values[-1]) != _FLOAT_BYTES:
            raise WireError(f"field {number} is no float")
        (value,) = struct.unpack("<f", values[-1])
        return float(value)

    def content(self, number: int) -> bytes:
        """The last value of a bytes or string field; empty when there is none."""
        values = self._contents(number)
        return values[-1] if values else b""

    def messages(self, number: int) -> list["Message"]:
        """All values of a field of messages."""
        return [Message(value) for value in self._contents(number)]

    def _contents(self, number: int) -> list[bytes]:
        values = [value for value in self._values[number] if isinstance(value, bytes)]
        if len(values) != len(self._values[number]):
            raise WireError(f"field {number} is an integer")
        return values


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire_type == _LENGTH_DELIMITED:
            length, position = _varint(data, position)
        elif wire_type in _FIXED_BYTES:
            length = _FIXED_BYTES[wire_type]
        else:
            raise WireError(f"wire type {wire_type} at byte {position}")
        if position + length > len(data):
            raise WireError(f"field {number} ends behind the last byte")
        yield number, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _VARINT_BITS, 7):
        if position >= len(data):
            raise WireError("the last number is cut off")
        byte = data[position]
        position += 1
        value |= (byte & ~_CONTINUED) << shift
        if byte < _CONTINUED:
            return value, position
    raise WireError(f"the number before byte {position} is too long")
