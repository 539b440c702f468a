"""What runs, in which order: Prefect flows, and the command line that starts them."""

from flows.faults import quiet_engines

# Here, since a flow is run by Prefect's own command, which knows no other place of ours.
quiet_engines()
