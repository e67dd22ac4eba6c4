"""The SQL schema of the product, as ordered migrations; `services.core.database` applies them."""
