//! `qdiscope stats`, as other programs ask it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::qdiscope::{Finished, qdiscope};

fn ask(arguments: &str, lines: &str) -> Result<Finished, Failed> {
    let mut questions = tempfile::NamedTempFile::new()?;
    questions.write_all(lines.as_bytes())?;
    Finished::of(qdiscope(arguments)?.stdin(File::open(questions.path())?))
}

fn answers(finished: &Finished) -> Result<Vec<Value>, Failed> {
    finished.stdout.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// A saw, so that values vary, from a level on.
fn around(level: f64, count: u8) -> Vec<f64> {
    (0..count).map(|at| level * (1.0 + f64::from(at % 5) / 200.0)).collect()
}

pub(crate) fn changes_are_answered_line_by_line() -> Result<(), Failed> {
    let mut child =
        qdiscope("stats changes --stdio")?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
    let stepped = [around(100.0, 20), around(120.0, 20)].concat();
    // Who asks waits for each answer before the next question.
    for (values, places) in
        [(json!(stepped), json!([20])), (json!(around(100.0, 40)), json!([])), (json!([]), json!([]))]
    {
        writeln!(stdin, "{}", json!({ "values": values }))?;
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        assert_eq!(serde_json::from_str::<Value>(&line)?, places);
    }
    drop(stdin);
    assert!(child.wait()?.success());
    // What was not measured keeps its place.
    let mut gaps: Vec<Option<f64>> = stepped.into_iter().map(Some).collect();
    gaps.insert(5, None);
    let finished = ask("stats changes --stdio", &format!("\n{}", json!({ "values": gaps })))?.expect(0)?;
    assert_eq!(answers(&finished)?, [json!([21])]);
    Ok(())
}

pub(crate) fn two_sides_are_compared() -> Result<(), Failed> {
    let question = |baseline: &[f64], candidate: &[f64]| {
        format!("{}\n", json!({ "baseline": baseline, "candidate": candidate }))
    };
    let lines = question(&around(100.0, 10), &around(110.0, 10))
        + &question(&around(100.0, 10), &around(90.0, 10))
        + &question(&around(100.0, 10), &around(100.0, 10))
        + &question(&[1.0, 1.1], &[2.0, 2.1])
        + &question(&[0.0; 6], &[5.0; 6]);
    let finished = ask("stats compare --stdio", &lines)?.expect(0)?;
    let answers = answers(&finished)?;
    let verdicts: Vec<_> =
        answers.iter().map(|answer| answer["verdict"].as_str().unwrap_or_default()).collect();
    assert_eq!(verdicts, ["regression", "improvement", "no-change", "inconclusive", "regression"]);
    let percent = answers[0]["change_pct"].as_f64().ok_or("no change")?;
    let interval: [f64; 2] = serde_json::from_value(answers[0]["interval_pct"].clone())?;
    assert!((percent - 10.0).abs() < 0.5 && interval[0] > 8.0 && interval[1] < 12.0, "{}", answers[0]);
    assert_eq!(answers[0]["effect"], 1.0);
    assert_eq!((&answers[3]["reason"], &answers[3]["p"]), (&"too few values".into(), &Value::Null));
    // Of zero there are no percents.
    assert_eq!((&answers[4]["change_pct"], &answers[4]["change"]), (&Value::Null, &5.0.into()));
    Ok(())
}

/// Of four values a side no difference is sure enough for 1 %; and a drift is one only where sides were measured one after the other.
pub(crate) fn certainty_and_order_are_asked_for() -> Result<(), Failed> {
    let apart = r#"{"baseline":[1.0,1.1,1.2,1.3],"candidate":[2.0,2.1,2.2,2.3]}"#;
    let rising = |from: u8| (from..from + 10).map(|at| 100.0 + f64::from(at)).collect::<Vec<_>>();
    let drifting = json!({ "baseline": rising(0), "candidate": rising(10) }).to_string();
    for (arguments, line, verdict) in [
        ("stats compare --stdio", apart, "regression"),
        ("stats compare --stdio --strict", apart, "inconclusive"),
        ("stats compare --stdio", &drifting, "inconclusive"),
        ("stats compare --stdio --interleaved", &drifting, "regression"),
    ] {
        let answers = answers(&ask(arguments, line)?.expect(0)?)?;
        assert_eq!(answers[0]["verdict"], verdict, "{arguments}: {}", answers[0]);
    }
    Ok(())
}

/// What was answered until then stays answered.
pub(crate) fn what_cannot_be_read_is_refused_in_one_line() -> Result<(), Failed> {
    let good = r#"{"values":[1,2,3]}"#;
    for bad in [
        "nonsense",
        r#"{"values":3}"#,
        r#"{"values":[1],"more":2}"#,
        r#"{"values":[NaN]}"#,
        "{}",
        "\u{1}\u{2}",
    ] {
        let finished = ask("stats changes --stdio", &format!("{good}\n{bad}\n"))?.expect(2)?;
        assert_eq!(finished.stdout, "[]\n", "{bad}");
        let said = &finished.stderr;
        assert!(
            said.starts_with("qdiscope: line 2 of standard input: ") && said.lines().count() == 1,
            "{said}"
        );
    }
    let finished = ask("stats compare", "")?.expect(2)?;
    assert!(finished.stderr.contains("--stdio"), "{}", finished.stderr);
    Ok(())
}
