"""Reading Parquet that somebody else may have written: bounded before anything is unpacked."""

import io

import pyarrow as pa
import pyarrow.parquet as pq


def unpack_table(content: bytes, *, most_rows: int, most_values: int) -> pa.Table:
    """The table in these bytes, where it is no larger than it may be: a kilobyte can unpack to gigabytes.

    Args:
        content: of the file.
        most_rows: rows that it may have.
        most_values: values that it may have, over all columns, those in lists included.
    Raises: ValueError: in one line, whatever is wrong with the file.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
        about = file.metadata
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        values = sum(group.column(column).num_values for group in groups for column in range(group.num_columns))
        size = sum(group.total_byte_size for group in groups)
        if not 0 <= about.num_rows <= most_rows:
            raise ValueError(f"it has {about.num_rows} rows, and may have {most_rows}")
        if values > most_values or size > 16 * most_values + (1 << 20):
            raise ValueError(f"it unpacks to {values} values of {size} bytes, and may have {most_values} values")
        table = file.read()
        table.validate(full=True)
        return table
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError([*str(error).splitlines(), type(error).__name__][0][:160]) from None
