"""Parquet: writing it, and reading what somebody else may have written, bounded before anything is unpacked."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Structure = dict[int, Any]  # by field number
_DEEPEST = 32  # structures within structures of a footer


def pack_table(table: pa.Table, about: Mapping[str, object] | None = None, *, checksums: bool = False) -> bytes:
    """A table as the content of a file.

    Args:
        table: what it holds.
        about: plain values for its metadata, as JSON under "certmix"; the table keeps its own where left out.
        checksums: of every page.
    """
    if about is not None:
        table = table.replace_schema_metadata({b"certmix": json.dumps(about).encode()})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=checksums)
    return sink.getvalue()


def unpack_table(content: bytes, *, most_rows: int, most_values: int) -> pa.Table:
    """The table in these bytes, where it is no larger than it may be: a kilobyte can unpack to gigabytes.

    Args:
        content: of the file.
        most_rows: rows that it may have.
        most_values: values that it may have, over all columns, those in lists included.
    Raises: ValueError: in one line, whatever is wrong with the file.
    """
    try:
        rows, values, size = _stated_sizes(content)
        if not 0 <= rows <= most_rows:
            raise ValueError(f"it has {rows} rows, and may have {most_rows}")
        if not 0 <= values <= most_values or not 0 <= size <= 16 * most_values + (1 << 20):
            raise ValueError(f"it unpacks to {values} values in {size} bytes, and may have {most_values} values")
        table = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True).read()
        table.validate(full=True)
        return table
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError([*str(error).splitlines(), type(error).__name__][0][:160]) from None


def _stated_sizes(content: bytes) -> tuple[int, int, int]:
    """(rows, values, unpacked bytes) that a footer states.

    Read here, since pyarrow 26 aborts the process where it is asked for the columns of some damaged footers.
    Source: github apache/parquet-format, parquet.thrift, FileMetaData.
    """
    length = int.from_bytes(content[-8:-4], "little")
    if content[-4:] != b"PAR1" or length > len(content) - 12:
        raise ValueError("it has no footer")
    footer = _Compact(content[-8 - length : -8]).structure()
    chunks = [chunk[3] for group in footer[4] for chunk in group[1]]
    return footer[3], sum(chunk[5] for chunk in chunks), sum(chunk[6] for chunk in chunks)


class _Compact:
    """Thrift's compact protocol: structures as dictionaries by field number.

    Source: github apache/thrift, doc/specs/thrift-compact-protocol.md.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def structure(self, depth: int = 0) -> Structure:
        if depth > _DEEPEST:
            raise ValueError("its footer is too deep")
        fields: Structure = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            return self._take(8)
        if kind == 8:
            return self._take(self._varint())
        if kind in (9, 10):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._value(head & 15, depth + 1) for _ in range(size)]
        if kind == 12:
            return self.structure(depth + 1)
        raise ValueError("its footer is damaged")  # maps occur in no Parquet footer

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise ValueError("its footer ends early")
        self._at += size
        return taken

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("its footer is damaged")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
