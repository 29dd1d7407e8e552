//! `xtask/kernels.toml`: which kernels there are, and what must hold on each.

use serde::Deserialize;

use super::error::Error;

/// One series of kernels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kernel {
    /// What its version begins with, as `6.12`.
    pub(super) series: String,
    /// The suite of Debian's archive.
    pub(super) suite: String,
    /// The package's name, `*` standing for the kernel's release.
    package: String,
    /// The package version that was last seen to work.
    pub(super) tried: String,
    /// The probe kind that must be chosen.
    pub(super) probes: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kernel: Vec<Kernel>,
}

impl Kernel {
    /// The package's name before and after the release.
    pub(super) fn around(&self) -> (&str, &str) {
        self.package.split_once('*').unwrap_or((&self.package, ""))
    }

    /// The release that a package's name names, if it is a kernel of this series.
    pub(super) fn release_in<'a>(&self, package: &'a str) -> Option<&'a str> {
        let (before, after) = self.around();
        let release = package.strip_prefix(before)?.strip_suffix(after)?;
        let rest = release.strip_prefix(&self.series)?;
        rest.starts_with(['.', '-', '+']).then_some(release)
    }
}

/// All of them, as they are committed.
pub(super) fn all() -> Result<Vec<Kernel>, Error> {
    parse(include_str!("../../kernels.toml"))
}

/// The one of a series.
pub(super) fn one(series: Option<&str>) -> Result<Kernel, Error> {
    let mut kernels = all()?;
    let known = kernels.iter().map(|kernel| kernel.series.as_str()).collect::<Vec<_>>().join(", ");
    let Some(wanted) = series else { return Err(Error::WhichKernel(known)) };
    match kernels.iter().position(|kernel| kernel.series == wanted) {
        Some(index) => Ok(kernels.swap_remove(index)),
        None => Err(Error::NoSuchKernel { wanted: wanted.to_owned(), known }),
    }
}

fn parse(text: &str) -> Result<Vec<Kernel>, Error> {
    let File { kernel: kernels } =
        toml::from_str(text).map_err(|error| Error::Kernels(error.to_string().trim().to_owned()))?;
    for kernel in &kernels {
        if kernel.package.matches('*').count() != 1 {
            return Err(Error::Kernels(format!("package {:?} has not one `*`", kernel.package)));
        }
        // It becomes a folder's name.
        if kernel.series.is_empty() || !kernel.series.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return Err(Error::Kernels(format!("series {:?} is not like 6.12", kernel.series)));
        }
        if kernels.iter().filter(|other| other.series == kernel.series).count() > 1 {
            return Err(Error::Kernels(format!("series {} is there twice", kernel.series)));
        }
    }
    if kernels.is_empty() { Err(Error::Kernels("no kernel in it".into())) } else { Ok(kernels) }
}

#[cfg(test)]
pub(super) fn fixture(series: &str, tried: &str) -> Kernel {
    Kernel {
        series: series.into(),
        suite: "sid".into(),
        package: "linux-image-*-cloud-amd64".into(),
        tried: tried.into(),
        probes: "fexit".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_file_is_read() {
        let kernels = all().unwrap();
        assert_eq!(
            kernels.iter().map(|kernel| kernel.series.as_str()).collect::<Vec<_>>(),
            ["6.1", "6.12", "7.2"]
        );
        assert!(kernels.iter().all(|kernel| kernel.probes == "fexit"));
    }

    #[test]
    fn a_series_is_not_one_that_begins_alike() {
        let kernel = fixture("6.1", "6.1.176-1");
        assert_eq!(kernel.release_in("linux-image-6.1.0-50-cloud-amd64"), Some("6.1.0-50"));
        assert_eq!(kernel.release_in("linux-image-6.12.95+deb12-cloud-amd64"), None);
        assert_eq!(kernel.release_in("linux-image-6.1.0-50-cloud-amd64-dbg"), None);
        assert_eq!(kernel.release_in("linux-image-6.1.0-50-cloud-amd64-unsigned"), None);
        assert_eq!(kernel.release_in("linux-image-6.1.0-50-rt-amd64"), None);
        assert_eq!(kernel.release_in("linux-image-cloud-amd64"), None);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused() {
        let entry = |series: &str, package: &str| {
            format!(
                "[[kernel]]\nseries = {series:?}\nsuite = \"s\"\npackage = {package:?}\ntried = \"1\"\nprobes = \"fexit\"\n"
            )
        };
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        assert!(refused(&entry("6.1", "linux-image")).contains("has not one `*`"));
        assert!(refused(&entry("../x", "l-*")).contains("not like 6.12"));
        assert!(refused(&entry("6.1", "l-*").repeat(2)).contains("twice"));
        assert!(refused("kernel = []").contains("no kernel"));
        assert!(refused("[[kernel]]\nserie = \"6.1\"").contains("kernels.toml"));
        assert!(parse(&entry("6.1", "l-*")).is_ok());
    }

    #[test]
    fn a_kernel_must_be_named_and_known() {
        assert!(matches!(one(None), Err(Error::WhichKernel(known)) if known == "6.1, 6.12, 7.2"));
        assert!(matches!(one(Some("5.4")), Err(Error::NoSuchKernel { .. })));
        assert_eq!(one(Some("6.12")).unwrap().suite, "bookworm-backports");
    }
}
