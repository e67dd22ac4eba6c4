"""The ports that the parts of a system get where none is chosen."""

from __future__ import annotations

from cli.embedded import free_port


def test_no_two_parts_get_the_same_port_although_none_listens_yet() -> None:
    ports = [free_port() for _ in range(1000)]

    assert len(set(ports)) == len(ports)


def test_a_port_that_a_person_has_chosen_is_given_to_no_other_part() -> None:
    chosen = range(0, 65_536, 2)

    assert all(free_port(chosen) % 2 for _ in range(20))
