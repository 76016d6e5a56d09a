"""The command line: ``main`` is the group and its guard, and each other file is one command.

What commands share stands beside them: ``command`` (their help, their options and arguments),
``completion``, ``settings`` (the defaults that a help text shows), ``outcome`` (from cases to a
printed table) and ``runs`` (finished runs by their folders). Nothing below this package imports
it, and nothing in it but the command line's own words.
"""
