//! What somebody may have meant who wrote something else.

/// Below this likeness (0 to 1) a suggestion leads astray.
const ALIKE: f64 = 0.6;

/// The candidate that is most like `word` (Damerau and Levenshtein), if any is near.
pub(crate) fn near<T: AsRef<str>>(word: &str, candidates: impl IntoIterator<Item = T>) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(word, candidate.as_ref()), candidate.as_ref().to_owned())
        })
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// `` did you mean `x`? ``, or what there is.
pub(super) fn advice(word: &str, known: &[&str]) -> String {
    near(word, known).map_or_else(
        || {
            format!(
                "known: {}",
                known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ")
            )
        },
        |near| format!("did you mean `{near}`?"),
    )
}

/// serde's "unknown field `belwo`, expected one of `below`, …", with what was meant where that is near.
pub(super) fn with_advice(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((word, known)) if message.starts_with("unknown ") && !known.is_empty() => {
            match near(word, known) {
                Some(near) => {
                    format!("{}`{word}`: did you mean `{near}`?", message.split('`').next().unwrap_or(""))
                }
                None => message.to_owned(),
            }
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_suggested_and_what_is_not_is_not() {
        assert_eq!(near("belwo", ["below", "above"]).as_deref(), Some("below"));
        assert_eq!(near("colour", ["below", "above"]), None);
        let message = "unknown field `belwo`, expected one of `metric`, `below`";
        assert_eq!(with_advice(message), "unknown field `belwo`: did you mean `below`?");
        assert_eq!(
            with_advice("unknown field `z`, expected `metric`"),
            "unknown field `z`, expected `metric`"
        );
        assert_eq!(with_advice("invalid type"), "invalid type");
    }
}
