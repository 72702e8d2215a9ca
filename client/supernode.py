"""Flower's SuperNode with its memory hidden: it holds the session with the hub, which no app may get at.

Run as a program with the arguments of `flower-supernode`. An app's process belongs to the same account; the
kernel then lets it neither write into this one's memory nor take its connections (see `client.confinement`).
"""

from flwr.supernode.cli import flower_supernode

from client.confinement import hide_memory

if __name__ == "__main__":
    hide_memory()
    flower_supernode()
