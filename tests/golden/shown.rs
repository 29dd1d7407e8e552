//! What the real `tc` says that the kernel has.

use libtest_mimic::Failed;
use serde_json::Value;
use support::run;
use tc_adapter::{Handle, HtbClass, HtbQdisc, LinkLayer, Rate, Size};

/// Checks what `tc -s -j qdisc show` says about the root qdisc of `device`.
pub(crate) fn check_qdisc(device: &str, handle: Handle, expected: &HtbQdisc) -> Result<(), Failed> {
    let text = run(&format!("tc -s -j qdisc show dev {device}"))?;
    let list: Value = serde_json::from_str(&text)?;
    let root = list.as_array().and_then(|list| list.iter().find(|entry| entry["root"] == true));
    let root = root.ok_or_else(|| format!("no root qdisc in {text}"))?;
    let options = &root["options"];
    // As printf's %#x does.
    let default =
        if expected.default_class == 0 { "0".to_owned() } else { format!("{:#x}", expected.default_class) };
    let same = root["kind"] == "htb"
        && root["handle"] == handle.to_string()
        && options["r2q"] == expected.r2q
        && options["default"] == default
        && expected.direct_qlen.is_none_or(|packets| options["direct_qlen"] == packets);
    if same { Ok(()) } else { Err(format!("asked for {expected:?}, tc shows {root}").into()) }
}

/// One class as `tc -d class show` tells it: words in iproute2 6.1, JSON in newer ones.
pub(crate) enum ShownClass {
    Words(Vec<String>),
    Json(Value),
}

impl ShownClass {
    /// `None` when `tc` does not list it.
    pub(crate) fn find(device: &str, classid: Handle) -> Result<Option<Self>, Failed> {
        let text = run(&format!("tc -d -j class show dev {device}"))?;
        if text.trim_start().starts_with('[') {
            let list: Vec<Value> = serde_json::from_str(&text)?;
            return Ok(list.into_iter().find(|class| class["handle"] == classid.to_string()).map(Self::Json));
        }
        let start = format!("class htb {classid} ");
        let line = text.lines().find(|line| line.starts_with(&start));
        Ok(line.map(|line| Self::Words(line.split_whitespace().map(str::to_owned).collect())))
    }

    /// The word after `key`.
    fn word<'a>(words: &'a [String], key: &str) -> Option<&'a str> {
        words.iter().position(|word| word == key).and_then(|index| words.get(index + 1)).map(String::as_str)
    }

    pub(crate) fn parent(&self) -> Option<String> {
        match self {
            Self::Words(words) => Self::word(words, "parent").map(str::to_owned),
            Self::Json(class) => class["parent"].as_str().map(str::to_owned),
        }
    }

    /// Compares every setting that `tc` shows with what was asked.
    pub(crate) fn check(&self, expected: &HtbClass) -> Result<(), Failed> {
        let mut wrong = Vec::new();
        for (key, rate) in [("rate", expected.rate), ("ceil", expected.ceil)] {
            if !self.is_rate(key, rate) {
                wrong.push(key);
            }
        }
        let sizes = [
            ("burst", expected.effective_burst(), expected.rate),
            ("cburst", expected.effective_cburst(), expected.ceil),
        ];
        for (key, size, rate) in sizes {
            if !self.is_burst(key, size, rate) {
                wrong.push(key);
            }
        }
        for (key, number) in [
            ("prio", expected.prio),
            ("overhead", u32::from(expected.overhead)),
            ("mpu", u32::from(expected.mpu)),
        ] {
            if !self.is_number(key, number) {
                wrong.push(key);
            }
        }
        if expected.quantum.is_some_and(|quantum| !self.is_number("quantum", quantum)) {
            wrong.push("quantum");
        }
        if !self.is_link_layer(expected.link_layer) {
            wrong.push("linklayer");
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("{wrong:?} differ: asked for {expected:?}, tc shows {self}").into())
        }
    }

    fn is_rate(&self, key: &str, rate: Rate) -> bool {
        match self {
            // This holds our way of printing rates to tc's as well.
            Self::Words(words) => Self::word(words, key) == Some(&rate.to_string()),
            Self::Json(class) => class[key] == rate.bytes_per_second(),
        }
    }

    /// `tc` counts back from ticks in whole microseconds (before 6.15) and rounds to `Kb`.
    fn is_burst(&self, key: &str, size: Size, rate: Rate) -> bool {
        let shown = match self {
            Self::Words(words) => Self::word(words, key)
                .and_then(|word| word.split('/').next())
                .and_then(|word| word.parse::<Size>().ok())
                .map(|size| u64::from(size.bytes())),
            Self::Json(class) => class[key].as_u64(),
        };
        let microsecond = rate.bytes_per_second() / 1_000_000 + 1;
        let rounding = if size.bytes() < 1 << 20 { 16 } else { 1024 };
        shown.is_some_and(|shown| shown.abs_diff(u64::from(size.bytes())) <= microsecond + rounding)
    }

    /// `tc -d` always tells it.
    fn is_link_layer(&self, layer: LinkLayer) -> bool {
        let name = match layer {
            LinkLayer::Ethernet => "ethernet",
            LinkLayer::Atm => "atm",
        };
        match self {
            Self::Words(words) => Self::word(words, "linklayer") == Some(name),
            Self::Json(class) => class["linklayer"].as_str().is_none_or(|shown| shown == name),
        }
    }

    /// `tc` leaves a number of 0 out, but for prio.
    fn is_number(&self, key: &str, number: u32) -> bool {
        match self {
            Self::Words(words) => {
                let shown = Self::word(words, key).map(|word| word.trim_end_matches('b').to_owned());
                shown.unwrap_or_else(|| "0".to_owned()) == number.to_string()
            }
            Self::Json(class) => class[key].as_u64().unwrap_or(0) == u64::from(number),
        }
    }
}

impl std::fmt::Display for ShownClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Words(words) => f.write_str(&words.join(" ")),
            Self::Json(class) => class.fmt(f),
        }
    }
}
