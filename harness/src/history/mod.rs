//! The history of runs: one SQLite file, or a team's PostgreSQL.
//!
//! A [`Record`] is all that is kept of a run, and a line of an export. [`History`] is where records are; its SQL is the same for both databases
//! (`migrations/`, numbers and text only). A [`Keeper`] puts a run there, and where that cannot be done now, into a file that is sent later
//! ([`Unsent`]): nothing is lost. What is asked of a history ([`Filter`]) is data; `export` makes bytes of what it answers.

mod baselines;
mod commit;
mod database;
mod error;
pub mod export;
mod figures;
mod find;
mod histograms;
pub mod import;
mod keeper;
mod location;
mod read;
mod record;
mod unsent;
mod write;

pub use baselines::Renewed;
pub use commit::Commit;
pub use database::{History, Purpose};
pub use error::HistoryError;
pub use find::{Find, Found};
pub use keeper::{Keeper, Kept};
pub use location::{Location, NoLocation};
pub use read::{Filter, Point, Row, Series};
pub use record::{Environment, Figure, KeptHistogram, RECORD_VERSION, Record, Source};
pub use unsent::Unsent;
pub use write::Added;
