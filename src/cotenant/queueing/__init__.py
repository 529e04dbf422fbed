"""Pure mathematics of waiting: formulas with assumptions, sources and known values.

A `Stream` (rate, pattern, `Service`) goes in; for each stream `Sojourn | Unstable` comes out. A
`Sojourn` has its mean and, except where the table says "means", a `Law` with every quantile.
No file, no clock; randomness only where an rng is an argument. Seconds throughout.

| question: how long does a request stay | function | mean | law | source |
| --- | --- | --- | --- | --- |
| first come first served | mg1.fcfs | exact | exact | Pollaczek 1930, Khinchine 1932 |
| until the server is idle again | mg1.busy_period | exact | exact | Takacs 1955 |
| classes, running request ends first | priority.nonpreemptive | exact | exact | Cobham 1954, \
Kesten and Runnenburg 1957 |
| classes, higher ones interrupt | priority.preemptive | exact | exact | Conway et al. 1967 |
| fine time slices | sharing.processor_sharing | exact | gamma delay, two exact moments | \
Sakata et al. 1969, Yashkov 1983 |
| time slices by weight | sharing.discriminatory | exact if exponential | means | \
Fayolle et al. 1980 |
| several servers | multiserver.fcfs | exact for M/M/c | exact for M/M/c | Erlang 1917, \
Lee and Longton 1959, Allen and Cunneen 1978 |
| one periodic stream | periodic.alone | exact on a lattice | same | Spitzer 1956 |
| periodic streams of one period | periodic.same_period | exact | exact | Eckberg 1979 |
| any mix of periodic and Poisson | lindley.fcfs | sampled | sampled | Lindley 1952 |
| batches up to a size and a delay | batch.batched | exact | means | Bailey 1954, Neuts 1967 |
| models that displace each other | swap.exact | exact | exact | Neuts 1966 |
| the same, swaps as if independent | swap.independent | approximation | same | \
Pollaczek-Khinchine |
| the same, as published | swap.published | approximation | same | Liang et al. 2022 |
| stages in a row | network.tandem | exact | stages independent | Burke 1956 |
| fraction in time | tail.attainment | | from the law | |

Exact laws are transforms, inverted by Euler summation to about 1e-8 (`inversion`), jumps
kept apart (`law`). All but `periodic` and `lindley` take every arrival process as Poisson, and
`multiserver` corrects for periodic ones by two moments. To predict many streams quickly,
fold those that one of them meets into one (`mg1.folded`).
"""
