"""Keep the record in PostgreSQL: workspaces, codes, targets, keys, events and totals."""
