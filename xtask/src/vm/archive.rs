//! Debian's archive, through apt: the machine's own mirror and configuration, but lists, cache and sources of our own, so that
//! nothing of the system changes and no root is needed. apt verifies the index's signature and each download's hash.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    error::{Error, file},
    program,
    version::{self, Package},
};

/// The keys of Debian's archive, wherever the package debian-archive-keyring is installed.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One suite.
pub(super) struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// Fetches the index of a suite into a folder of its own.
    pub(super) fn open(dir: &Path, suite: &str) -> Result<Self, Error> {
        for folder in ["lists/partial", "cache/archives/partial"] {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(file(path))?;
        }
        let keys = if Path::new(KEYS).is_file() { format!("signed-by={KEYS} ") } else { String::new() };
        let source = format!("deb [{keys}target=Packages lang=none] {} {suite} main\n", mirror()?);
        for (name, content) in [("sources.list", source.as_str()), ("status", "")] {
            let path = dir.join(name);
            fs::write(&path, content).map_err(file(path))?;
        }
        let archive = Self { dir: dir.to_owned() };
        program::succeed(archive.apt("apt-get").args(["--quiet=2", "update"]))?;
        Ok(archive)
    }

    /// The packages whose names have this beginning and end.
    pub(super) fn packages(&self, (before, after): (&str, &str)) -> Result<Vec<Package>, Error> {
        let mut names = self.apt("apt-cache");
        names.args(["pkgnames", before]);
        let names = program::output(&mut names)?;
        let wanted: Vec<_> = names.lines().filter(|name| name.ends_with(after)).collect();
        self.show(&wanted)
    }

    /// What the index says about these packages.
    pub(super) fn show(&self, names: &[impl AsRef<str>]) -> Result<Vec<Package>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut show = self.apt("apt-cache");
        show.arg("show").args(names.iter().map(AsRef::as_ref));
        Ok(version::packages(&program::output(&mut show)?))
    }

    /// Fetches a package into a folder, and gives its path.
    pub(super) fn download(&self, package: &Package, into: &Path) -> Result<PathBuf, Error> {
        let mut download = self.apt("apt-get");
        download.args(["--quiet=2", "download", &format!("{}={}", package.name, package.version)]);
        program::succeed(download.current_dir(into))?;
        // apt writes an epoch's colon as %3a; a kernel has no epoch.
        let wanted = format!("{}_{}_", package.name, package.version);
        let entries = fs::read_dir(into).map_err(file(into))?;
        let mut paths = entries.flatten().map(|entry| entry.path());
        paths
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&wanted)))
            .ok_or_else(|| Error::Package {
                package: package.name.clone(),
                reason: format!("apt-get download left no {wanted}*.deb"),
            })
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let dir = self.dir.display();
        for option in [
            format!("Dir::State::Lists={dir}/lists"),
            format!("Dir::State::status={dir}/status"),
            format!("Dir::Cache={dir}/cache"),
            format!("Dir::Etc::SourceList={dir}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            // The folders are the caller's, and not the user's who downloads where apt runs as root.
            "APT::Sandbox::User=root".to_owned(),
            "APT::Get::AllowUnauthenticated=false".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
            "Acquire::AllowInsecureRepositories=false".to_owned(),
            "Acquire::Retries=5".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }
}

/// Where this machine gets Debian from.
fn mirror() -> Result<String, Error> {
    const FORMAT: &str = "$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(COMPONENT)|$(CREATED_BY)";
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", FORMAT]);
    let targets = program::output(&mut command)?;
    mirror_in(&targets).ok_or_else(|| {
        let known = targets.lines().filter_map(|line| line.split('|').next()).collect::<Vec<_>>();
        let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
        Error::NoMirror(known)
    })
}

/// The archive itself, in a list of index targets: not the security archive, which holds other suites, and nobody else's. Where
/// apt has not been updated yet it does not know whose an archive is; then its address has to tell.
fn mirror_in(targets: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let [uri, release, origin, component, kind] = line.split('|').collect::<Vec<_>>()[..] else {
            return None;
        };
        let debians =
            origin == "Debian" || (origin.starts_with('$') && uri.trim_end_matches('/').ends_with("/debian"));
        let wanted = kind == "Packages" && component == "main" && !release.contains("security");
        (wanted && debians).then(|| uri.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_of_the_archive_itself() {
        let targets = "http://a/nodistro/|nodistro|other|main|Packages\n\
                       http://a/debian-security/|bookworm-security|Debian|main|Packages\n\
                       http://a/debian/|bookworm|Debian|main|Translations\n\
                       http://a/debian/|bookworm|Debian|main|Packages\n";
        assert_eq!(mirror_in(targets).as_deref(), Some("http://a/debian/"));
        assert_eq!(mirror_in("http://a/ubuntu/|noble|Ubuntu|main|Packages\n"), None);
        assert_eq!(mirror_in(""), None);
    }

    #[test]
    fn before_the_first_update_the_address_tells() {
        let line = |uri: &str| format!("{uri}|bookworm|$(ORIGIN)|main|Packages\n");
        assert_eq!(mirror_in(&line("http://a/debian/")).as_deref(), Some("http://a/debian/"));
        assert_eq!(mirror_in(&line("http://a/debian-security")), None);
    }
}
