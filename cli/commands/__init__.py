"""Administrators' and operators' commands: each calls one part of the product."""
