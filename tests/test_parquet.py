"""Parquet of strangers: read where it is as large as it may be, refused in one line before it unpacks to gigabytes."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from certmix.parquet import _stated_sizes, unpack_table


def _content(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


@pytest.mark.parametrize("options", [{"compression": "zstd"}, {"row_group_size": 3, "write_page_checksum": True}])
def test_what_is_written_is_read_and_sized_as_pyarrow_sizes_it(options):
    lists = [[1, 2], [3], [], [4, 5, 6]] * 4
    table = pa.table({"a": list(range(16)), "b": lists, "c": ["x"] * 16, "d": [True, False] * 8})
    table = table.replace_schema_metadata({b"k": b"v"})
    content = _content(table, **options)
    about = pq.ParquetFile(io.BytesIO(content)).metadata
    chunks = [
        about.row_group(i).column(j) for i in range(about.num_row_groups) for j in range(about.row_group(i).num_columns)
    ]
    expected = 16, sum(c.num_values for c in chunks), sum(c.total_uncompressed_size for c in chunks)
    assert _stated_sizes(content) == expected
    assert unpack_table(content, most_rows=16, most_values=expected[1]).equals(table)
    for rows, values in ((15, expected[1]), (16, expected[1] - 1)):
        with pytest.raises(ValueError, match="and may have"):
            unpack_table(content, most_rows=rows, most_values=values)


def test_a_kilobyte_of_two_million_values_is_refused_unread():
    values = pa.array(np.zeros(2_000_000, dtype=np.int64))
    column = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
    content = _content(pa.table({"counts": column}), compression="zstd")
    assert len(content) < 2000
    with pytest.raises(ValueError, match="unpacks to 2000000 values"):
        unpack_table(content, most_rows=1, most_values=1000)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 4, b"\xff" * 200, b"x" * 100 + b"\x50\0\0\0PAR1"])
def test_no_parquet_is_one_line(content):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        unpack_table(content, most_rows=10, most_values=10)
