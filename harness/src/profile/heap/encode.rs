//! Allocations → pprof's protobuf, as Go's heap profiles are, and a flamegraph.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::fmt::Write as _;
use std::time::SystemTime;

use pprof::protos::{Function, Label, Line, Location, Message as _, Profile, Sample, ValueType};

use super::Allocations;
use super::table::Site;
use crate::profile::{ProfileError, flamegraph};

/// A finished profile.
pub struct HeapProfile {
    /// pprof's protobuf.
    pub protobuf: Vec<u8>,
    /// SVG: what was allocated, whether it was freed or not.
    pub flamegraph: Vec<u8>,
}

/// The types of a sample's values, in Go's order.
const VALUES: [(&str, &str); 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

impl Allocations {
    /// Puts names to the addresses. This reads the binary's line tables and takes memory: it comes after everything that is measured.
    pub fn profile(&self) -> Result<HeapProfile, ProfileError> {
        if self.sites.is_empty() {
            return Err(ProfileError::new("sample allocations", &"no sample was taken"));
        }
        let mut encoder = Encoder::default();
        encoder.text("");
        encoder.profile.sample_type = VALUES.map(|(ty, unit)| encoder.value_type(ty, unit)).into();
        let mut folded = BTreeMap::<String, i64>::new();
        for site in &self.sites {
            let values = values(site, self.every.get());
            *folded.entry(encoder.line_of(&site.stack)).or_default() += values[1];
            encoder.sample(site, values);
        }
        // As after taking the CPU profile: the line tables of the whole binary.
        backtrace::clear_symbol_cache();
        let mut profile = Profile {
            period_type: Some(encoder.value_type("space", "bytes")),
            period: signed(self.every.get()),
            time_nanos: self
                .began
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
            duration_nanos: i64::try_from(self.duration.as_nanos()).unwrap_or(i64::MAX),
            ..encoder.profile
        };
        let mut strings: Vec<_> = encoder.strings.into_iter().collect();
        strings.sort_unstable_by_key(|&(_, index)| index);
        profile.string_table = strings.into_iter().map(|(text, _)| text).collect();

        let mut lines = String::new();
        for (line, bytes) in folded {
            let _ = writeln!(lines, "{line} {bytes}");
        }
        let subtitle = format!(
            "bytes of its Rust code while it measured, freed or not; a sample in {} bytes, scaled to all",
            self.every
        );
        let flamegraph = flamegraph("qdiscope: what it allocated", &subtitle, "bytes", &lines)?;
        Ok(HeapProfile { protobuf: profile.encode_to_vec(), flamegraph })
    }
}

/// What a site's samples stand for. An allocation of `size` bytes is sampled with the probability 1 - exp(-size / every).
fn values(site: &Site, every: u64) -> [i64; 4] {
    let bytes = site.size as f64;
    let scale = if every == 1 { 1.0 } else { 1.0 / -(-bytes / every as f64).exp_m1() };
    #[expect(clippy::cast_possible_truncation, reason = "saturates, beyond what a process can allocate")]
    let scaled = |count: u64, each: f64| (count as f64 * each * scale).round() as i64;
    let live = site.allocated.saturating_sub(site.freed);
    [scaled(site.allocated, 1.0), scaled(site.allocated, bytes), scaled(live, 1.0), scaled(live, bytes)]
}

/// A table in which things are found by what they are. Ids begin with 1, strings with the empty one.
#[derive(Default)]
struct Encoder {
    profile: Profile,
    strings: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    /// By address. Frames of the profiler itself have none.
    locations: HashMap<usize, Option<Place>>,
}

#[derive(Clone)]
struct Place {
    id: u64,
    /// For the flamegraph: outermost first.
    names: String,
}

/// A function at an address: the one that is there, and those that it was inlined into.
struct Symbol {
    name: String,
    file: String,
    line: u32,
}

impl Encoder {
    fn text(&mut self, text: &str) -> i64 {
        if let Some(&index) = self.strings.get(text) {
            return index;
        }
        let index = signed(self.strings.len() as u64);
        self.strings.insert(text.to_owned(), index);
        index
    }

    fn value_type(&mut self, ty: &str, unit: &str) -> ValueType {
        ValueType { ty: self.text(ty), unit: self.text(unit) }
    }

    fn sample(&mut self, site: &Site, values: [i64; 4]) {
        let location_id = site.stack.iter().filter_map(|&address| Some(self.place(address)?.id)).collect();
        let bytes = self.text("bytes");
        let each = Label { key: bytes, num: signed(site.size as u64), num_unit: bytes, ..Label::default() };
        self.profile.sample.push(Sample { location_id, value: values.into(), label: vec![each] });
    }

    /// Folded: outermost first.
    fn line_of(&mut self, stack: &[usize]) -> String {
        let places: Vec<_> = stack.iter().rev().filter_map(|&address| self.place(address)).collect();
        places.iter().map(|place| place.names.as_str()).collect::<Vec<_>>().join(";")
    }

    fn place(&mut self, address: usize) -> Option<Place> {
        if let Some(known) = self.locations.get(&address) {
            return known.clone();
        }
        let symbols = symbols(address);
        let place = (!symbols.iter().any(|symbol| is_profiler(&symbol.name))).then(|| {
            let line = symbols.iter().map(|symbol| self.line(symbol)).collect();
            let id = self.profile.location.len() as u64 + 1;
            self.profile.location.push(Location { id, address: address as u64, line, ..Location::default() });
            // A semicolon would split the frame in two.
            let names: Vec<_> = symbols.iter().rev().map(|symbol| symbol.name.replace(';', ":")).collect();
            Place { id, names: if names.is_empty() { "[unknown]".into() } else { names.join(";") } }
        });
        self.locations.insert(address, place.clone());
        place
    }

    fn line(&mut self, symbol: &Symbol) -> Line {
        let (name, filename) = (self.text(&symbol.name), self.text(&symbol.file));
        let next = self.profile.function.len() as u64 + 1;
        let function_id = *self.functions.entry((name, filename)).or_insert(next);
        if function_id == next {
            self.profile.function.push(Function {
                id: next,
                name,
                system_name: name,
                filename,
                ..Function::default()
            });
        }
        Line { function_id, line: i64::from(symbol.line) }
    }
}

/// Innermost first. An address without a name has none, and is known by its number.
fn symbols(address: usize) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    backtrace::resolve(std::ptr::without_provenance_mut::<c_void>(address), |symbol| {
        if let Some(name) = symbol.name() {
            let file = symbol.filename().map(|path| path.display().to_string());
            symbols.push(Symbol {
                name: format!("{name:#}"),
                file: file.unwrap_or_default(),
                line: symbol.lineno().unwrap_or(0),
            });
        }
    });
    symbols
}

/// How an allocation comes to be recorded: the innermost frames of every stack.
fn is_profiler(name: &str) -> bool {
    let ways =
        ["SampledAllocator", "profile::heap::allocator::", "profile::heap::table::", "__rustc::__rust_"];
    name.starts_with("backtrace::") || ways.iter().any(|way| name.contains(way))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
