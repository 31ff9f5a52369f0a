"""The process lab: a whole appliance on one machine, as a normal user, in one folder.

What it cannot show: the loss of the page cache when the power fails, a live root file system being wiped,
clocks that differ, and the address resolution of a moving virtual IP.
"""
