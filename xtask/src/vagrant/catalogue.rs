//! What makes `vagrant up` take our box and run it by QEMU, although the Vagrantfile says nothing of either.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::error::{Error, at};

/// The public box that `vagrant/Vagrantfile` names.
const BOX: &str = "debian/bookworm64";

/// Settings of this user's Vagrant, to be merged with those of the project: no KVM, the newest CPU that QEMU can be, no screen.
const SETTINGS: &str = r#"Vagrant.configure("2") do |config|
  config.vm.boot_timeout = 600
  config.vm.provider :libvirt do |libvirt|
    libvirt.driver = "qemu"
    libvirt.cpu_mode = "maximum"
    libvirt.graphics_type = "none"
  end
end
"#;

/// Writes the settings into `home` (`VAGRANT_HOME`), and beside them a catalogue in which the public box is this file. Gives the
/// catalogue, for `vagrant box add`.
pub(super) fn write(home: &Path, box_file: &Path) -> Result<PathBuf, Error> {
    fs::create_dir_all(home).map_err(at(home))?;
    let settings = home.join("Vagrantfile");
    fs::write(&settings, SETTINGS).map_err(at(&settings))?;
    let provider = json!({"name": "libvirt", "url": format!("file://{}", box_file.display())});
    let catalogue = json!({"name": BOX, "versions": [{"version": "12.0", "providers": [provider]}]});
    let path = home.join("catalogue.json");
    fs::write(&path, catalogue.to_string()).map_err(at(&path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::BOX;

    #[test]
    fn the_box_is_the_one_that_the_vagrantfile_names() {
        let vagrantfile = include_str!("../../../vagrant/Vagrantfile");
        assert!(vagrantfile.contains(&format!("config.vm.box = \"{BOX}\"\n")));
    }
}
