//! A typed traffic-control client over rtnetlink: HTB qdiscs and classes, and what stands around them.
//!
//! ```no_run
//! use tc_adapter::{Connection, Device, Handle, HtbClass, HtbQdisc, Request};
//!
//! # fn shape() -> Result<(), Box<dyn std::error::Error>> {
//! let mut tc = Connection::connect()?;
//! let device = Device::by_name("eth0")?.index;
//! let (root, classid) = ("1:".parse()?, "1:10".parse()?);
//! // tc qdisc add dev eth0 root handle 1: htb
//! tc.request(&Request::AddQdisc { device, parent: Handle::ROOT, handle: root, qdisc: HtbQdisc::new().into() })?;
//! // tc class add dev eth0 parent 1: classid 1:10 htb rate 10mbit
//! tc.request(&Request::AddClass { device, parent: root, classid, class: HtbClass::new("10mbit".parse()?) })?;
//! # Ok(()) }
//! ```
//!
//! # Which client
//!
//! | | |
//! |---|---|
//! | [`Connection`] | blocking, one caller, no runtime; [`Connection::batch`] sends many requests in few system calls |
//! | [`Client`] | any number of tasks and threads, on any runtime; what waits at the same time travels together |
//! | [`Events`] | what anybody changes, as it changes: `tc monitor` |
//! | [`tree`] | what a device is to have, as a whole, brought about by the fewest changes; from a `tc -batch` file, TOML or JSON |
//!
//! The first two give each request its own outcome, with the kernel's explanation (extended acknowledgement) where it gave one.
//!
//! ```no_run
//! use tc_adapter::{Client, Handle, Request};
//!
//! # async fn remove(client: &Client, device: u32, classid: Handle) {
//! match client.request(&Request::DeleteClass { device, classid }).await {
//!     Ok(answer) => println!("deleted, as request {}", answer.sequence),
//!     Err(error) if error.errno() == Some(2) => println!("there is none"),
//!     Err(error) => println!("{error}"),
//! }
//! # }
//! ```
//!
//! # What it knows
//!
//! | `tc` | here |
//! |---|---|
//! | `qdisc … htb`, `class … htb` | [`HtbQdisc`], [`HtbClass`] |
//! | `qdisc …` pfifo, bfifo, `fq_codel`, sfq, cake, tbf, netem, prio, ingress, clsact, mq | [`Qdisc`], a kind a file in [`qdisc`] |
//! | `filter …` u32, flower, fw, matchall, bpf (bytecode) | [`Filter`], [`filter`] |
//! | `action …` mirred, police, gact, skbedit | [`Action`], [`action`] |
//! | `-s qdisc\|class\|filter show` | [`QdiscEntry`], [`ClassEntry`], [`FilterEntry`], with [`Stats`], [`QdiscXstats`], [`HtbXstats`] |
//! | a command as text | [`command::Command`]: read, printed, and made a [`Request`] |
//!
//! ```
//! use tc_adapter::command::Command;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let line = "filter add dev eth0 parent 1: protocol ip prio 1 u32 match ip dst 10.0.0.7/32 flowid 1:7";
//! let request = line.parse::<Command>()?.request(|_name| Ok::<_, tc_adapter::Error>(2))?;
//! assert_eq!(request.message_type().name(), "RTM_NEWTFILTER");
//! # Ok(()) }
//! ```
//!
//! # How requests travel
//!
//! The kernel handles an rtnetlink request synchronously inside the sender's `sendto(2)`, under the RTNL mutex:
//! when the call returns, the answer already lies in the socket's receive buffer. Therefore
//!
//! * requests go through one socket, and no thread contends for RTNL with a sibling (the kernel's mutex is unfair, and
//!   contending on it raises the 99th percentile of a class creation from 0.4 ms to 30 ms without any gain in throughput);
//! * those that wait are sent together, up to 256 in a call, and only the last is acknowledged: the kernel reports each failure
//!   whether it was asked to or not. A change costs a quarter of what it costs alone;
//! * there is no `await` between sending and being answered: dropping a future never leaves a request half done;
//! * the caller knows the sequence number of every request, which with the port id is the key that kernel probes join on.
//!
//! The price: a request occupies its thread for the time the kernel takes, which is microseconds for a change but a second
//! or more when another process holds RTNL.
//!
//! # Thousands of classes
//!
//! Adding the N-th class to a qdisc takes the kernel time in proportion to N, whoever asks. [`Shards`] deals classes to several
//! qdiscs, [`Recycler`] changes classes instead of deleting and adding them.
//!
//! # Units
//!
//! [`Rate`] is kept in bytes a second and read as `tc` reads it (`10mbit` bits, `10mbps` bytes); [`Size`] in bytes (`15k` is
//! 15,360); handles are hexadecimal (`1:10` is minor 16). Each type's documentation has the `tc` command that says the same.
//!
//! # What an error means
//!
//! | | sent | changed |
//! |---|---|---|
//! | [`Error::Invalid`], [`Error::NotReached`], [`Error::Expired`], [`Error::Closed`] | no | no |
//! | [`Error::MissingParent`], [`Error::WouldNotMove`], [`Error::WouldDestroyLeaf`], [`Error::WouldReplaceRoot`], [`Error::TooDeep`] | a question | no |
//! | [`Error::Kernel`] | yes | no |
//! | [`Error::ParentNotApplied`] | yes | yes, but elsewhere than asked |
//! | [`Error::AnswerLost`] | yes | see its [`Inquiry`] |
//!
//! # Where the kernel accepts silently what was not meant
//!
//! | The kernel | This crate |
//! |---|---|
//! | turns a class whose parent does not exist into a root class | asks for the parent first: [`Error::MissingParent`] |
//! | reports success when a class is replaced under another parent, and does not move it | asks where it is: [`Error::WouldNotMove`] |
//! | the same when a class is changed (one message, and no question) | compares the parent that the kernel echoes: [`Error::ParentNotApplied`] |
//! | destroys the qdisc of a leaf class when that gets a child | sees it when it asks for the parent: [`Error::WouldDestroyLeaf`] |
//! | destroys the root qdisc and all under it when it is replaced by one with another handle | asks what is there: [`Error::WouldReplaceRoot`] |
//! | refuses a ninth level, before Linux 6.4 without a word | asks how deep the parent is: [`Error::TooDeep`] |
//! | clamps priority 100 to 7, takes a ceil below the rate, a burst of 0, class `1:0` | refuses before sending: [`Error::Invalid`] |
//! | warns by ext-ack text on a *successful* request | [`Answer::warning`] |
//! | answers a class dump of a device that does not exist with an empty list | [`Error::NoSuchDevice`] |
//! | answers a plain `RTM_GETTCLASS` with no object | asks with `NLM_F_ECHO` |
//! | lists a `u32` filter under every class of the qdisc that has filters of the same prio | [`tree::State`] asks which table is whose |
//! | keeps the name of a `u32` hash table taken when its prio is deleted | [`tree::apply`] deletes tables by name |
//! | does not change the packets that a `u32` filter takes when it is replaced | [`tree::apply`] deletes and adds it |
//! | drops answers when the receive buffer is full | sends no more at once than it has room for; asks what is so: [`Evidence::State`], [`Error::AnswerLost`] |
//! | lets any process send what looks like its answer | connects the socket, so that it does not |
//!
//! What is refused can be had by name: `tc.request_with(&request, Checks::ALL.without(Check::LeafLoss))`, see [`Check`]. Between a
//! question and the request, others may change what was asked for: only the parents are looked at again, by echo.

pub mod action;
mod attribute;
mod checks;
mod client;
pub mod command;
mod connection;
mod decimal;
mod device;
mod entry;
mod error;
mod events;
mod exchange;
#[cfg(feature = "fault-injection")]
pub mod fault;
pub mod filter;
mod handle;
mod htb;
mod link;
mod message;
mod order;
mod packet;
mod parents;
pub mod qdisc;
mod queue;
mod rate;
mod recycle;
mod reply;
mod request;
mod shard;
mod size;
mod socket;
mod stats;
mod text;
mod time;
mod timing;
pub mod tree;
mod validate;
mod words;

/// Reads a datagram as an answer, for fuzzing only.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn read_any_datagram(datagram: &[u8]) {
    let port =
        datagram.get(12..16).map_or(0, |port| u32::from_ne_bytes([port[0], port[1], port[2], port[3]]));
    reply::events(datagram, reply::Span { port, first: 0, count: u32::MAX }).for_each(drop);
}

pub use action::Action;
pub use checks::{Check, Checks};
pub use client::Client;
pub use connection::{Answer, Connection, Evidence, OnError};
pub use device::Device;
pub use entry::{ClassEntry, QdiscEntry};
pub use error::{Error, Inquiry, Loss};
pub use events::{Event, Events};
pub use filter::{Classifier, Filter, FilterEntry, FilterName, Protocol};
pub use handle::{Handle, ParseHandleError};
pub use htb::{HtbClass, HtbQdisc, HtbXstats, LinkLayer, Rounding};
pub use link::Link;
pub use message::MessageType;
#[doc(hidden)]
pub use packet::Packet;
pub use qdisc::{Qdisc, QdiscXstats};
pub use rate::{Rate, RateError};
pub use recycle::Recycler;
pub use reply::Malformed;
pub use request::{Dump, Request};
pub use shard::Shards;
pub use size::{ParseSizeError, Size};
pub use socket::SocketOptions;
pub use stats::{RateEstimate, Stats};
pub use time::{ParseTimeError, Time};
pub use timing::Timing;
pub use validate::InvalidRequest;
pub use words::Syntax;
