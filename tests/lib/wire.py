"""Encoded protobuf messages taken apart without a protobuf library, to compare stored bytes with answered bytes."""


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data):
    """(number, wire type, value, raw bytes with tag) of each field, in order."""
    at, out = 0, []
    while at < len(data):
        start = at
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = data[at:at + 8], at + 8
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        elif kind == 5:
            value, at = data[at:at + 4], at + 4
        else:
            raise ValueError(f"wire type {kind} at byte {start}")
        if at > len(data):
            raise ValueError(f"field {number} at byte {start} runs over the end")
        out.append((number, kind, value, data[start:at]))
    return out


def repeated(data, number):
    """The values of one length-delimited field, in order."""
    return [value for n, kind, value, _ in fields(data) if n == number and kind == 2]


def put_varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put(number, value):
    """One length-delimited field (bytes, str) or one varint field (int)."""
    if isinstance(value, int):
        return put_varint(number << 3) + put_varint(value)
    value = value.encode() if isinstance(value, str) else value
    return put_varint(number << 3 | 2) + put_varint(len(value)) + value


BOOK_PAGES = 3  # EventBook.pages


def pages(book):
    """The encoded pages of an encoded EventBook."""
    return repeated(book, BOOK_PAGES)
