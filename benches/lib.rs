//! Nothing here: the benchmarks are targets of this package.
