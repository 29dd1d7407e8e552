//! Saved runs.

mod run_dir;

pub use run_dir::RunDir;
