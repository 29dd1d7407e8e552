//! Where the history is, on the command line.

use clap::Args;

use crate::exit::Failure;
use crate::history::{History, Keeper, Location, Purpose};
use crate::report::model::RunResult;

const HELP: &str = "The history: a file, or postgres://USER@HOST/DATABASE; `none` keeps nothing [default: history.db in $XDG_STATE_HOME/qdiscope]";

/// Where the history is.
#[derive(Args, Debug, Clone, Default)]
pub(in crate::cli) struct StoreArgument {
    #[arg(long, value_name = "WHERE", env = "QDISCOPE_STORE", hide_env_values = true, help = HELP)]
    store: Option<String>,
}

/// Names that a run is given.
#[derive(Args, Debug, Clone, Default)]
pub(in crate::cli) struct Labels {
    /// Give the run a name in the history, by which it is found and compared; may be repeated
    #[arg(long = "label", value_name = "NAME", value_parser = parse_label)]
    pub(in crate::cli) labels: Vec<String>,
}

pub(super) fn parse_label(text: &str) -> Result<String, String> {
    let is_taken = text == "latest" || text.starts_with(crate::baseline::PREFIX);
    if text.trim().is_empty() || is_taken || text.chars().any(char::is_control) {
        Err("a label is a word or several, and neither `latest`, which is the newest run's, nor a baseline's `baseline:…`".into())
    } else {
        Ok(text.to_owned())
    }
}

impl StoreArgument {
    /// Where it is; a failure where there is none to be.
    pub(super) fn location(&self) -> Result<Location, Failure> {
        self.chosen()?.ok_or_else(|| Failure::usage("--store none: there is no history to look into"))
    }

    /// Where it is; `None` where nothing is to be kept.
    fn chosen(&self) -> Result<Option<Location>, Failure> {
        match self.store.as_deref() {
            Some("none") => Ok(None),
            Some(name) => name.parse().map(Some).map_err(|error| Failure::usage(format!("--store {error}"))),
            None => Location::of_user().map(Some).map_err(|error| Failure::environment(error.to_string())),
        }
    }

    /// Who keeps a run when it is over. Whoever has no home has no history, unless one is named.
    pub(in crate::cli) fn keeper(&self, labels: &Labels) -> Result<Option<Keeper>, Failure> {
        let chosen = match (self.chosen(), &self.store) {
            (Err(failure), None) => {
                tracing::warn!("the run will be in no history: {failure}");
                None
            }
            (chosen, _) => chosen?,
        };
        Ok(chosen.map(|location| Keeper::prepare(location, labels.labels.iter().cloned().collect())))
    }

    /// The results of the runs that a name stands for; `None` where there is no history, or nothing of that name.
    pub(in crate::cli) fn runs_named(&self, name: &str) -> Result<Option<Vec<RunResult>>, Failure> {
        match self.chosen()? {
            None => return Ok(None),
            Some(Location::Sqlite(path)) if !path.exists() => return Ok(None),
            Some(_) => {}
        }
        self.with(Purpose::Read, async |history| {
            let Some(find) = history.find(name).await? else { return Ok(None) };
            let mut results = Vec::new();
            for run in &find.runs {
                let Some(result) = history.record(run).await?.result else {
                    return Err(Failure::usage(format!(
                        "run {}: others measured it, and only its figures are known; `qdiscope trend` shows them",
                        run.id
                    )));
                };
                let result = serde_json::from_value(result)
                    .map_err(|error| Failure::usage(format!("run {}: {error}", run.id)))?;
                results.push(result);
            }
            Ok(Some(results))
        })
    }

    /// Opens it, has something done with it, and closes it.
    pub(in crate::cli) fn with<Outcome>(
        &self,
        purpose: Purpose,
        work: impl AsyncFnOnce(&mut History) -> Result<Outcome, Failure>,
    ) -> Result<Outcome, Failure> {
        let location = self.location()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::environment(format!("start: {error}")))?;
        runtime.block_on(async {
            let mut history = History::open(&location, purpose).await?;
            let outcome = work(&mut history).await;
            history.close().await;
            outcome
        })
    }
}
