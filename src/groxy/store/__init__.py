"""The only place with SQL: tables, queries, migrations. Rows in, values out. Decides nothing."""
