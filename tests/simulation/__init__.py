"""A deterministic simulation: the code that ships, both nodes, in one thread, on a clock that nobody waits for.

What is real: lease, keeper, election, nodes, peer care, roles' order, the loop of the update with its rules, grants and
evidence, requests, the daemon's wiring (:class:`ovca.daemon.service.Ovcad`, its threads stepped pass by pass), the
answers of the boot service, and the installer, on real files and a real database: SQLite, or a PostgreSQL server of its
own (``--engine postgresql``). What is simulated: time, that of the database as well, machines and their BMCs, power,
firmware, the network between them, threads, and whoever presses a power button. No rule is written a second time: what
a run must not do is judged by the model checker's own invariants.

How data passes::

    Schedule ──► Simulation.run ──► Outcome
                    │ puts disks and database back
                    ▼
                Appliance ── Scheduler: tasks (greenlets), one at a time, by their times
                 │   │   └── Watch: rows, disks and machines as a state of the model, after each effect and commit
                 │   └────── Operator
                 ▼
                Machine (BMC, firmware, installer) ──► Running (one run of Ovcad) ──► SharedDatabase ──► Server

* :class:`~tests.simulation.faults.Schedule` says all that makes a run what it is: the seed of the order of threads,
  strikes (a fault at a numbered point), mishaps (a fault at a time), what the network loses or doubles, and what the
  image is worth. The same schedule gives the same run, to the letter of its trace.
* A *branch* of a schedule has the same faults up to a moment, and others from then on:
  :mod:`tests.simulation.branches`. Module :mod:`tests.simulation.spread` parts at points, and tries one fault at each.
* A *point* is where something may break: before and after each commit, each order to a BMC, each role that starts or
  stops, each reboot; before each file that is written, renamed or removed, and each question over the network. They
  are numbered in the order in which they are passed.
* A task is one thread of a service, an installer, or the world itself. It goes on until it rests, waits, or is
  interrupted before a transaction or an effect; whoever is killed sees an exception there, and nothing that it still
  does reaches the world.
* Nobody is paused inside a transaction: on SQLite all others would wait for him, and on PostgreSQL the server ends it.

``python -m tests.simulation --help`` says what can be run. What the simulation cannot show: clocks that drift apart,
real sockets, processes and disks, losses of the page cache, and, as both nodes share one connection, what a database
does with two transactions at once.
"""
