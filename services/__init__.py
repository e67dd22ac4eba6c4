"""The services: sync logic, mappers, and one client per foreign system."""
