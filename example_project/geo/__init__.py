"""The ISO tables: countries, currencies and subdivisions."""
