//! Which requests are shown.

use super::message::TYPES;
use super::request::Request;

/// What a request must have to be shown. Of each list one is enough; an empty one lets everything through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The sending process.
    pub pids: Vec<u32>,
    /// The sending thread's name.
    pub comms: Vec<String>,
    /// The device.
    pub devices: Vec<String>,
    /// The message type.
    pub types: Vec<u16>,
    /// The least time in the kernel; ns.
    pub min_ns: u64,
}

impl Filter {
    /// Whether the request is to be shown.
    pub fn lets_through(&self, request: &Request) -> bool {
        let any = |empty: bool, found: bool| empty || found;
        request.total_ns >= self.min_ns
            && any(self.pids.is_empty(), self.pids.contains(&request.pid))
            && any(
                self.comms.is_empty(),
                request
                    .comm
                    .as_ref()
                    .is_some_and(|comm| self.comms.iter().any(|wanted| is_cut(wanted, comm))),
            )
            && any(
                self.devices.is_empty(),
                request.dev.as_ref().is_some_and(|dev| self.devices.contains(dev)),
            )
            && any(
                self.types.is_empty(),
                self.types.iter().any(|wanted| {
                    TYPES.iter().any(|(number, name)| number == wanted && *name == request.message_type)
                }),
            )
    }
}

/// The kernel keeps 15 bytes of a thread's name.
fn is_cut(wanted: &str, comm: &str) -> bool {
    const KEPT: usize = 15;
    wanted.as_bytes().get(..KEPT).unwrap_or(wanted.as_bytes()) == comm.as_bytes()
}

/// Reads a message type: `RTM_NEWTCLASS`, `newtclass`.
pub(crate) fn parse_type(text: &str) -> Result<u16, String> {
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("RTM_").unwrap_or(&upper);
    TYPES
        .iter()
        .find(|(_, name)| name.strip_prefix("RTM_") == Some(bare))
        .map(|(number, _)| *number)
        .ok_or_else(|| {
            let names: Vec<_> = TYPES.iter().map(|(_, name)| *name).collect();
            format!("no such message type; there are {}", names.join(", "))
        })
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::{described, refused};
    use super::*;

    #[test]
    fn each_filter_holds_back_what_it_is_about() {
        let (event, detail) = refused();
        let request = described(&event, &detail, None);
        let lets = |filter: Filter| filter.lets_through(&request);
        assert!(lets(Filter::default()));
        assert!(lets(Filter { pids: vec![1, 42], ..Filter::default() }));
        assert!(!lets(Filter { pids: vec![43], ..Filter::default() }));
        assert!(lets(Filter { comms: vec!["tc".into()], ..Filter::default() }));
        assert!(!lets(Filter { comms: vec!["t".into(), "tcc".into()], ..Filter::default() }));
        assert!(lets(Filter { devices: vec!["eth0".into()], ..Filter::default() }));
        assert!(!lets(Filter { devices: vec!["eth1".into()], ..Filter::default() }));
        assert!(lets(Filter { types: vec![41, 40], ..Filter::default() }));
        assert!(!lets(Filter { types: vec![41], ..Filter::default() }));
        assert!(lets(Filter { min_ns: 14_200, ..Filter::default() }));
        assert!(!lets(Filter { min_ns: 14_201, ..Filter::default() }));
        // All of them together.
        assert!(!lets(Filter { pids: vec![42], types: vec![41], ..Filter::default() }));
    }

    #[test]
    fn names_are_as_long_as_the_kernel_keeps_them() {
        assert!(is_cut("a-rather-long-name", "a-rather-long-n"));
        assert!(!is_cut("a-rather-long", "a-rather-long-n"));
    }

    #[test]
    fn types_are_read_in_any_case_and_without_the_prefix() {
        for text in ["RTM_NEWTCLASS", "newtclass", "rtm_NewTClass"] {
            assert_eq!(parse_type(text), Ok(40), "{text}");
        }
        assert!(parse_type("RTM_NEWLINK").unwrap_err().contains("RTM_GETTFILTER"));
        assert!(parse_type("").is_err());
    }
}
