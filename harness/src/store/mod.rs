//! Saved runs.

mod folder;
mod run_dir;
mod saved;

pub use folder::{check_folder, write_folder};
pub use run_dir::RunDir;
pub use saved::{ReadError, SavedRun};
