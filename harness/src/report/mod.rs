//! Reports are functions of a saved run: a [`model::RunResult`] goes in, text or bytes come out.

pub mod action_benchmark;
pub mod annotations;
pub mod explain;
pub mod junit;
pub mod markdown;
pub mod model;
pub mod sheet;
pub mod terminal;
pub mod timeline;
pub(crate) mod words;
