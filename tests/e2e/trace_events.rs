//! The rules of the Trace Event Format that Perfetto's importer depends on.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Failed;
use serde_json::Value;

/// Times are nanoseconds, written as microseconds: what is closer than half of one is the same.
const SAME: f64 = 0.000_5;

/// A process and a thread.
type Track = (u64, u64);

/// Which end of an arrow, where, when.
type End<'a> = (&'a str, Track, f64);

/// Fails where an event lacks what its kind must have, where slices of one track cross, and where an arrow has no other end or hangs in the air.
pub(crate) fn check(events: &[Value]) -> Result<(), Failed> {
    let mut tracks: BTreeMap<Track, Vec<(f64, f64)>> = BTreeMap::new();
    let mut arrows: BTreeMap<u64, Vec<End<'_>>> = BTreeMap::new();
    let (mut processes, mut named) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        let lacks = |what: &str| format!("{what}: {event}");
        let integer = |key: &str| event[key].as_u64().ok_or_else(|| lacks(key));
        let time = |key: &str| event[key].as_f64().filter(|time| *time >= 0.0).ok_or_else(|| lacks(key));
        let track = (integer("pid")?, integer("tid")?);
        event["name"].as_str().filter(|name| !name.is_empty()).ok_or_else(|| lacks("name"))?;
        match event["ph"].as_str() {
            Some("M") => {
                assert!(matches!(event["name"].as_str(), Some("process_name" | "thread_name")), "{event}");
                event["args"]["name"].as_str().ok_or_else(|| lacks("args.name"))?;
                if event["name"] == "process_name" {
                    assert!(named.insert(track.0), "named twice: {event}");
                }
            }
            Some("X") => {
                processes.insert(track.0);
                tracks.entry(track).or_default().push((time("ts")?, time("ts")? + time("dur")?));
                assert!(event["args"].is_object(), "{event}");
            }
            Some(end @ ("s" | "f")) => {
                arrows.entry(integer("id")?).or_default().push((end, track, time("ts")?));
            }
            _ => return Err(lacks("ph").into()),
        }
    }
    assert!(processes.is_subset(&named), "{processes:?} have slices, {named:?} names");
    for (track, slices) in &mut tracks {
        // Outer ones first, of those that begin at once.
        slices.sort_by(|one, other| one.0.total_cmp(&other.0).then(other.1.total_cmp(&one.1)));
        let mut open: Vec<f64> = Vec::new();
        for &(begin, end) in slices.iter() {
            while open.last().is_some_and(|last| *last <= begin + SAME) {
                open.pop();
            }
            assert!(
                open.last().is_none_or(|last| end <= last + SAME),
                "{track:?}: {begin} to {end} crosses {open:?}"
            );
            open.push(end);
        }
    }
    for (id, ends) in arrows {
        let [("s", from, left), ("f", to, arrived)] = ends.as_slice() else {
            return Err(format!("arrow {id}: {ends:?}").into());
        };
        assert!(left <= arrived, "arrow {id} goes back: {ends:?}");
        for (track, at) in [(from, left), (to, arrived)] {
            let within = |(begin, end): &&(f64, f64)| *begin <= at + SAME && *at <= end + SAME;
            assert!(
                tracks[track].iter().any(|slice| within(&slice)),
                "arrow {id} has no slice at {track:?} {at}"
            );
        }
    }
    Ok(())
}
