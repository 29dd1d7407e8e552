//! Reports are functions of a saved run: a [`model::RunResult`] goes in, text or bytes come out.

pub mod explain;
pub mod model;
pub mod terminal;
pub mod timeline;
pub(crate) mod words;
