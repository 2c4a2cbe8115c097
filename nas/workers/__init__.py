"""Where evaluations run: processes of this machine, or a Ray cluster.

On a cluster, evaluations run in slots, which are actors, and not as plain Ray tasks: Ray ends the
processes of idle tasks and gives a task's process other GPUs, so that no imported worker would stay
warm; it does not tell on which node a task died, so that a node with a fault of its own could not
be left out; and it counts tries alike whether the node died or the cell ended its process.
"""
