"""geo_etl's own tables in the database, as another geo_etl may have made them."""

import sqlalchemy as sa

from geo_etl.errors import StackError


def check_tables(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Refuse tables that lack columns; tables that are not there are fine.

    Raises:
        StackError: says what is missing and how to begin anew.
    """
    inspector = sa.inspect(connection)
    for table in metadata.sorted_tables:
        if not inspector.has_table(table.name, schema=table.schema):
            continue
        have = {column["name"] for column in inspector.get_columns(table.name, table.schema)}
        if missing := [column.name for column in table.columns if column.name not in have]:
            raise StackError(
                f"table {table.schema}.{table.name}",
                f"it was made by an older geo_etl and lacks {', '.join(missing)}",
                "Run 'geo-etl reset --yes' and ingest again: sources in bronze are still there.",
            )
