"""The SQL schema of the product, as ordered migrations; `services.database` applies them."""
