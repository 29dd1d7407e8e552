//! Which package of a series to take, from what the archive's index says; and how Debian orders versions.

use std::{cmp::Ordering, iter::Peekable, str::Bytes};

use super::kernels::Kernel;

/// A package, as the signed index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) sha256: String,
    depends: Vec<String>,
}

/// What to fetch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The release of the kernel, as in the packages' names.
    pub(super) release: String,
    pub(super) version: String,
    /// The package, then what it needs of the same release.
    pub(super) packages: Vec<String>,
}

/// Reads the stanzas that `apt-cache show` prints.
pub(super) fn packages(shown: &str) -> Vec<Package> {
    shown.split("\n\n").filter_map(stanza).collect()
}

fn stanza(text: &str) -> Option<Package> {
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim);
    let depends = field("Depends").unwrap_or_default().split(',');
    Some(Package {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        sha256: field("SHA256")?.to_owned(),
        depends: depends.filter_map(|one| one.split_whitespace().next()).map(Into::into).collect(),
    })
}

/// The version that was tried, where the archive still has it; else the newest. `None` where it has none of the series.
pub(super) fn choose(kernel: &Kernel, offered: &[Package]) -> Option<Choice> {
    let of_series = offered.iter().filter_map(|package| Some((kernel.release_in(&package.name)?, package)));
    let (release, package) = of_series.max_by(|(_, one), (_, other)| {
        let tried = |package: &Package| package.version == kernel.tried;
        tried(one).cmp(&tried(other)).then_with(|| compare(&one.version, &other.version))
    })?;
    let (_, flavour) = kernel.around();
    let whole = format!("{release}{flavour}");
    // linux-binary-7.2.13+deb14-cloud-amd64, linux-modules-…: since some release the image is split.
    let companions = package.depends.iter().filter(|name| name.ends_with(&whole));
    let packages = std::iter::once(&package.name).chain(companions).cloned().collect();
    Some(Choice { release: whole, version: package.version.clone(), packages })
}

/// The order of versions, as deb-version(7) has it, for versions without an epoch.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let parts = |version: &str| match version.rsplit_once('-') {
        Some((upstream, revision)) => (upstream.to_owned(), revision.to_owned()),
        None => (version.to_owned(), String::new()),
    };
    let ((one, one_revision), (other, other_revision)) = (parts(one), parts(other));
    compare_part(&one, &other).then_with(|| compare_part(&one_revision, &other_revision))
}

fn compare_part(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.bytes().peekable(), other.bytes().peekable());
    while one.peek().is_some() || other.peek().is_some() {
        loop {
            let (left, right) = (weight(one.peek()), weight(other.peek()));
            if left != right {
                return left.cmp(&right);
            }
            if left == 0 {
                break;
            }
            one.next();
            other.next();
        }
        match number(&mut one).cmp(&number(&mut other)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// Tildes before the end, the end and digits before letters, letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_digit() => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    }
}

fn number(bytes: &mut Peekable<Bytes<'_>>) -> u64 {
    let mut value = 0_u64;
    while let Some(digit) = bytes.next_if(u8::is_ascii_digit) {
        value = value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::{super::kernels::fixture, *};

    fn listing(entries: &[(&str, &str, &str)]) -> Vec<Package> {
        let text: Vec<_> = entries
            .iter()
            .map(|(name, version, depends)| {
                format!(
                    "Package: {name}\nArchitecture: amd64\nVersion: {version}\nDepends: {depends}\nSize: 1\nSHA256: {version}\nDescription: Linux\n more\n"
                )
            })
            .collect();
        packages(&text.join("\n"))
    }

    #[test]
    fn the_tried_version_is_taken_while_it_is_there() {
        let offered = listing(&[
            ("linux-image-6.12.90+deb12-cloud-amd64", "6.12.90-2~bpo12+1", "kmod"),
            ("linux-image-6.12.95+deb12-cloud-amd64", "6.12.95-1~bpo12+1", "kmod, linux-base (>= 4.3~)"),
        ]);
        let chosen = |tried| choose(&fixture("6.12", tried), &offered).unwrap().version;
        assert_eq!(chosen("6.12.90-2~bpo12+1"), "6.12.90-2~bpo12+1");
        assert_eq!(chosen("6.12.43-1~bpo12+1"), "6.12.95-1~bpo12+1");
    }

    #[test]
    fn another_series_is_no_substitute() {
        let offered = listing(&[("linux-image-7.3.1+deb14-cloud-amd64", "7.3.1-1", "kmod")]);
        assert_eq!(choose(&fixture("7.2", "7.2.13-1"), &offered), None);
        assert_eq!(choose(&fixture("7.2", "7.2.13-1"), &packages("")), None);
    }

    #[test]
    fn what_a_split_image_needs_comes_along() {
        let offered = listing(&[(
            "linux-image-7.2.13+deb14-cloud-amd64",
            "7.2.13-1",
            "dracut | initramfs-tools, linux-base-7.2.13+deb14-cloud-amd64 (= 7.2.13-1), \
             linux-binary-7.2.13+deb14-cloud-amd64 (= 7.2.13-1), linux-modules-7.2.13+deb14-cloud-amd64 (= 7.2.13-1)",
        )]);
        let choice = choose(&fixture("7.2", "7.2.13-1"), &offered).unwrap();
        assert_eq!(choice.release, "7.2.13+deb14-cloud-amd64");
        let kinds: Vec<_> = choice.packages.iter().filter_map(|name| name.split('-').nth(1)).collect();
        assert_eq!(kinds, ["image", "base", "binary", "modules"]);
    }

    #[test]
    fn versions_are_ordered_as_debian_does() {
        let ascending =
            ["6.1~rc1-1", "6.1-1~bpo12+1", "6.1-1", "6.1-1+b1", "6.1.9-1", "6.1.10-1", "6.1.10-10", "6.12-1"];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("6.12.95-1~bpo12+1", "6.12.95-1~bpo12+1"), Ordering::Equal);
        assert_eq!(compare("6.01-1", "6.1-1"), Ordering::Equal);
    }
}
