"""The rooms and windows of the house: sync logic, mappers, and one client per foreign system."""
