"""From a program to a graph: one recorded run, and what is refused because a recording could not be the program."""
