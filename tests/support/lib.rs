//! What the privileged tests share: a network namespace for each test, devices in it, commands, and honest skips.

mod command;
mod kernel;
mod namespace;
mod skip;

pub use command::run;
pub use kernel::kernel_is_at_least;
pub use namespace::{in_namespace, veth};
pub use skip::{NO_SKIP, Need, Skip, require, trial, trial_with};
