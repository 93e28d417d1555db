"""The same work measured on other projects, one script each; not part of the wheel."""
